/** Examines a broker's configuration file, whichever broker it is for. */
import { statSync } from "node:fs";
import { basename } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import type { ConfigBroker } from "./broker-names.js";
import type { DoctorReport } from "./finding.js";
import { readConfigText } from "./mosquitto/conf-reader.js";
import { auditMosquitto } from "./mosquitto/mosquitto-audit.js";
import { installedMosquittoVersion, OLDEST_TRIED } from "./mosquitto/version.js";
import { auditEmqx } from "./other-brokers/emqx-audit.js";
import { auditNanomq } from "./other-brokers/nanomq-audit.js";
import { auditRabbitmq } from "./other-brokers/rabbitmq-audit.js";

export interface ConfigAuditOptions {
  /** Told by the file when left out. */
  readonly broker?: ConfigBroker | undefined;
  /** The broker's version; for mosquitto the installed one when left out, else 2.0.11. */
  readonly version?: string | undefined;
  readonly nowMs: number;
}

/** @throws HawserError `NOT_FOUND`, `BAD_VERSION`, `BAD_BROKER_CONFIG`; the file system's error when the file cannot be read */
export function auditConfig(file: string, { broker, version, nowMs }: ConfigAuditOptions): DoctorReport {
  if (statSync(file).isDirectory())
    throw new HawserError("NOT_FOUND", `${file} is a directory`, "Pass the broker's main configuration file.");
  switch (broker ?? brokerOf(file)) {
    case "mosquitto":
      return auditMosquitto(file, { version: version ?? installedMosquittoVersion() ?? OLDEST_TRIED, nowMs });
    case "rabbitmq":
      return auditRabbitmq(file, version ?? "3", nowMs);
    case "emqx":
      return auditEmqx(file, version ?? "5");
    case "nanomq":
      return auditNanomq(file, version ?? "0.25");
  }
}

/** The broker a file is for, by its name and by words that no other broker's file has. */
export function brokerOf(file: string): ConfigBroker {
  const name = basename(file).toLowerCase();
  const text = readConfigText(file);
  if (name.includes("nanomq")) return "nanomq";
  if (name.includes("emqx")) return "emqx";
  if (name.includes("rabbitmq")) return "rabbitmq";
  if (name.includes("mosquitto")) return "mosquitto";
  if (/^\s*(mqtt\.(listeners|allow_anonymous|default_user)|loopback_users|listeners\.tcp\.default\s*=\s*\d)/m.test(text)) return "rabbitmq";
  if (/^\s*(auth|http_server|webhook)\s*\{|^\s*system\s*\{|nanomq/m.test(text)) return "nanomq";
  if (/^\s*(listeners\.(tcp|ssl|ws|wss)\.\w+\s*[{=]|dashboard\s*\{|authentication\s*=|authorization\s*\{|node\s*\{|mqtt\s*\{)/m.test(text))
    return "emqx";
  return "mosquitto";
}
