/** Examines a running broker. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { certificatesOf } from "../../doctor/certificate-files.js";
import { dial } from "../../doctor/live/observed-connection.js";
import { LiveAudit } from "../../doctor/live/live-audit.js";
import { ProbeBudget } from "../../doctor/live/probe-budget.js";
import { readProbeCredentials } from "../../doctor/live/probe-credentials.js";
import { jsonReport } from "../../doctor/reports/json-report.js";
import { terminalReport } from "../../doctor/reports/terminal-report.js";
import type { Context } from "../command-runner.js";
import { printable } from "../terminal.js";
import type { Json } from "../terminal.js";
import { hostAndPort, parseBrokerUrl } from "../flag-values.js";
import { keepReport } from "./doctor-output.js";
import type { ReportOptions } from "./doctor-output.js";

export interface DoctorLiveOptions extends ReportOptions {
  url: string;
  ca?: string;
  credentials?: string;
  otherCredentials?: string;
  plainPort?: readonly number[];
  tryPasswords?: boolean;
  active?: boolean;
}

const PLAIN_MQTT_PORT = 1883;

/** @throws HawserError `BAD_CREDENTIALS_FILE` */
function readAnchors(path: string): string {
  const pem = readFileSync(path, "utf8");
  if (certificatesOf(pem)?.[0] === undefined)
    throw new HawserError(
      "BAD_CREDENTIALS_FILE",
      `${path} holds no certificate`,
      "Pass the CA's certificate in PEM, such as ca/root.crt.pem.",
    );
  return pem;
}

export async function examineLive(options: DoctorLiveOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const isTls = !/^mqtt:\/\//i.test(options.url);
  const target = parseBrokerUrl(options.url.replace(/^mqtt:\/\//i, "mqtts://"));
  const [credentials, other] = [options.credentials, options.otherCredentials].map((path) =>
    path === undefined ? undefined : readProbeCredentials(path),
  );
  const ca = options.ca === undefined ? undefined : readAnchors(options.ca);
  const plainPorts = options.plainPort ?? [PLAIN_MQTT_PORT];
  const budget = new ProbeBudget(30 + 4 * plainPorts.length, options.active === true ? 4 * 1024 * 1024 : 64 * 1024);
  const ports = [...new Set([target.port, ...plainPorts])].join(", ");
  terminal.note(
    `Examining ${target.host}, ports ${ports}: at most ${budget.maxConnections} connections, ${budget.maxBytes} bytes sent${options.active === true ? ", about 25 s" : ""}.`,
  );
  const first = await dial(target, undefined, budget);
  if (!("socket" in first))
    throw new HawserError(
      "CONNECTION_REFUSED",
      `nothing answers at ${hostAndPort(target)}: ${first.answer.kind === "ended" ? first.answer.why : ""}`,
      "Check the host and port, and that the broker is running.",
    );
  first.socket.destroy();
  terminal.startProgress("examining");
  const audit = new LiveAudit(
    {
      target,
      isTls,
      plainPorts,
      credentials,
      other,
      ca,
      tryPasswords: options.tryPasswords === true,
      active: options.active === true,
      nowMs: Date.now(),
    },
    budget,
  );
  const report = await audit.run(`${isTls ? "mqtts" : "mqtt"}://${hostAndPort(target)}`);
  // Without this, what could not be examined would come out with the best grade.
  if (!audit.hasAnswered)
    throw new HawserError(
      "PROTOCOL_ERROR",
      `${hostAndPort(target)} is open, and does not behave like an MQTT broker: ${audit.silence}`,
      isTls ? "Check the port; use mqtt:// for one without TLS." : "Check the port; use mqtts:// for one with TLS.",
    );
  terminal.result(jsonReport(report) as Json, terminalReport(report, terminal.paint.bind(terminal)).map(printable));
  keepReport(report, options, context);
}
