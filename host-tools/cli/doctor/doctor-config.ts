/** Examines a configuration file, and writes a hardened copy when asked to. */
import { auditConfig } from "../../doctor/config-audit.js";
import type { ConfigBroker } from "../../doctor/broker-names.js";
import { writeHardened } from "../../doctor/harden.js";
import { jsonReport } from "../../doctor/reports/json-report.js";
import { terminalReport } from "../../doctor/reports/terminal-report.js";
import type { Context } from "../command-runner.js";
import { printable } from "../terminal.js";
import type { Json } from "../terminal.js";
import { keepReport } from "./doctor-output.js";
import type { ReportOptions } from "./doctor-output.js";

export interface DoctorConfigOptions extends ReportOptions {
  file: string;
  broker?: ConfigBroker;
  brokerVersion?: string;
  fix?: string;
}

export async function examineConfig(options: DoctorConfigOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const paint = terminal.paint.bind(terminal);
  const settings = { broker: options.broker, version: options.brokerVersion, nowMs: Date.now() };
  const report = auditConfig(options.file, settings);
  const lines = terminalReport(report, paint).map(printable);
  if (options.fix === undefined) {
    terminal.result(jsonReport(report) as Json, lines);
    return keepReport(report, options, context);
  }
  const { main, written, mended } = writeHardened(options.file, report.checked, report.findings, options.fix);
  const remaining = auditConfig(main, { ...settings, broker: report.broker as ConfigBroker, version: report.version });
  const fixed = { main, written, mended: [...new Set(mended.map(({ id }) => id))], remaining: jsonReport(remaining) };
  const after = [
    "",
    `Hardened copy: ${main} (${written.length} files). Examined again:`,
    "",
    ...terminalReport(remaining, paint).map(printable),
  ];
  terminal.result({ ...jsonReport(report), fixed } as Json, [...lines, ...after]);
  // What counts is what is left.
  keepReport(remaining, options, context);
}
