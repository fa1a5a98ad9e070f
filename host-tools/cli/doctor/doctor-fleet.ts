/** Examines the fleet of a CA directory. */
import { auditFleet } from "../../doctor/fleet/fleet-audit.js";
import { installedMosquittoVersion, OLDEST_TRIED } from "../../doctor/mosquitto/version.js";
import { jsonReport } from "../../doctor/reports/json-report.js";
import { terminalReport } from "../../doctor/reports/terminal-report.js";
import type { Context } from "../command-runner.js";
import { printable } from "../terminal.js";
import type { Json } from "../terminal.js";
import { keepReport } from "./doctor-output.js";
import type { ReportOptions } from "./doctor-output.js";

export interface DoctorFleetOptions extends ReportOptions {
  dir: string;
  brokerVersion?: string;
}

export async function examineFleet(options: DoctorFleetOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const report = auditFleet(options.dir, options.brokerVersion ?? installedMosquittoVersion() ?? OLDEST_TRIED, Date.now());
  terminal.result(jsonReport(report) as Json, terminalReport(report, terminal.paint.bind(terminal)).map(printable));
  keepReport(report, options, context);
}
