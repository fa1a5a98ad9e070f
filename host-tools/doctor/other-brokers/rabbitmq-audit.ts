/** RabbitMQ's rabbitmq.conf, as far as its MQTT plugin is concerned. advanced.config and definitions are not read. */
import { basename, dirname, join } from "node:path";
import { certificatesOf, othersMayRead } from "../certificate-files.js";
import type { DoctorReport, Edit, Place } from "../finding.js";
import { readConfigText, readText } from "../mosquitto/conf-reader.js";
import { serverCertificateProblems } from "../server-certificate.js";
import { isLoopbackBind, isWellKnown, ReportBuilder, weakSuites } from "./report-builder.js";
import { wrongRabbitLine } from "./rabbitmq-options.js";

interface Entry {
  readonly key: string;
  readonly value: string;
  readonly place: Place;
}

const replace = (place: Place, ...lines: string[]): Edit => ({ place, action: "replace", lines });

export function auditRabbitmq(file: string, version: string, nowMs: number): DoctorReport {
  const text = readConfigText(file);
  const config = new RabbitConfig(basename(file), text);
  const report = new ReportBuilder();
  checkLines(config, report);
  checkAnonymous(config, report);
  checkGuest(config, report);
  checkListeners(config, report);
  checkTls(config, report, dirname(file), nowMs);
  checkManagement(config, report);
  checkProxy(config, report);
  checkLogging(config, report);
  report.note(
    "Users, permissions and topic permissions live in the broker, not in this file: check them with rabbitmqctl list_permissions and list_topic_permissions.",
  );
  return report.report(file, "rabbitmq", version, [basename(file)]);
}

class RabbitConfig {
  readonly entries: readonly Entry[];

  constructor(
    readonly file: string,
    text: string,
  ) {
    this.entries = text.split("\n").flatMap((raw, index) => {
      // A # begins a comment anywhere, unless the value is quoted.
      const line = raw.replace(/^((?:[^'#]|'[^']*')*)#.*$/, "$1").trim();
      const equals = line.indexOf("=");
      if (equals < 1) return [];
      const value = line
        .slice(equals + 1)
        .trim()
        .replace(/^'(.*)'$/, "$1");
      return [{ key: line.slice(0, equals).trim(), value, place: { file, line: index + 1, text: line } }];
    });
  }

  /** The last one counts. */
  get(key: string): Entry | undefined {
    return this.entries.filter((entry) => entry.key === key).at(-1);
  }

  under(prefix: string): readonly Entry[] {
    return this.entries.filter(({ key }) => key.startsWith(`${prefix}.`));
  }

  get everything(): Place {
    return { file: this.file, line: 0, text: "" };
  }
}

function checkLines(config: RabbitConfig, report: ReportBuilder): void {
  for (const { key, value, place } of config.entries) {
    const wrong = wrongRabbitLine(key, value);
    if (wrong !== undefined)
      report.find("HW001", `${wrong.what}: the broker does not start.`, place, {
        edits: wrong.meant === undefined ? [] : [replace(place, wrong.meant)],
      });
  }
}

/** Whether each way to speak MQTT from outside demands a certificate of the listed authorities. */
function demandsCertificates(config: RabbitConfig): boolean {
  const isPlainOff = config.get("mqtt.listeners.tcp")?.value === "none" || config.under("mqtt.listeners.tcp").length > 0;
  const plain = [...config.under("mqtt.listeners.tcp"), ...config.entries.filter(({ key }) => key === "web_mqtt.tcp.port")];
  // Web MQTT has TLS options of its own, none of which asks for a certificate.
  const isWeb = config.entries.some(({ key }) => key.startsWith("web_mqtt.ssl."));
  return (
    isPlainOff &&
    plain.every(({ value }) => isLoopbackBind(value)) &&
    !isWeb &&
    config.get("ssl_options.verify")?.value === "verify_peer" &&
    config.get("ssl_options.fail_if_no_peer_cert")?.value === "true"
  );
}

/** Whether the built-in guest may log in from other machines. */
function guestFromAfar(config: RabbitConfig): Entry | undefined {
  const none = config.get("loopback_users");
  if (none?.value === "none") return none;
  const guest = config.get("loopback_users.guest");
  return guest?.value === "false" ? guest : undefined;
}

function checkAnonymous(config: RabbitConfig, report: ReportBuilder): void {
  const allow = config.get("mqtt.allow_anonymous");
  const login = config.get("anonymous_login_user");
  if (allow?.value === "false" || login?.value === "none") return;
  const user = (login ?? config.get("mqtt.default_user"))?.value ?? "guest";
  const isGuest = user === "guest";
  const edits =
    allow === undefined
      ? [{ place: config.everything, action: "after" as const, lines: ["mqtt.allow_anonymous = false"] }]
      : [replace(allow.place, "mqtt.allow_anonymous = false")];
  const isReachable = !isGuest || guestFromAfar(config) !== undefined;
  if (isReachable && demandsCertificates(config)) {
    if (config.get("mqtt.ssl_cert_login")?.value === "true") return;
    report.find(
      "HW024",
      `The certificate opens the door but names nobody: who shows any is let in as ${user}, because mqtt.ssl_cert_login is not true.`,
      (allow ?? login ?? guestFromAfar(config))?.place,
      { fix: ["mqtt.ssl_cert_login = true", "mqtt.allow_anonymous = false"], edits },
    );
  } else if (isReachable) {
    const how = allow === undefined ? " (mqtt.allow_anonymous is not set, and true by default up to RabbitMQ 3)" : "";
    report.find(
      "HW020",
      `Anonymous MQTT clients are let in, as ${user}${isGuest ? ", who may do everything" : ""}${how}.`,
      (allow ?? login ?? guestFromAfar(config))?.place,
      { edits },
    );
  } else if (allow?.value === "true") {
    report.find("HW021", "Anonymous MQTT clients are let in, as guest; RabbitMQ takes guest from this machine alone.", allow.place, {
      severity: "medium",
      edits,
    });
  } else report.note("mqtt.allow_anonymous is not set: up to RabbitMQ 3 anonymous clients of this machine get in, as guest.");
}

function checkGuest(config: RabbitConfig, report: ReportBuilder): void {
  const user = config.get("default_user")?.value ?? "guest";
  const password = config.get("default_pass");
  const open = guestFromAfar(config);
  const line = password ?? open;
  if (user === "guest" && open !== undefined && (password?.value ?? "guest") === "guest") {
    return report.find("HW026", "guest/guest is accepted from every address.", open.place, {
      edits: [{ place: open.place, action: "remove", lines: [] }],
      fix: ["loopback_users.guest = true", "default_user = admin", "default_pass = <openssl rand -hex 24>"],
    });
  }
  if (user !== "guest" && password !== undefined && isWellKnown(user, password.value)) {
    report.find(
      "HW026",
      `The administrator ${user} has a password everybody tries.`,
      line?.place === undefined ? undefined : { ...line.place, text: "default_pass = ..." },
      { fix: ["default_pass = <openssl rand -hex 24>"] },
    );
  }
}

function checkListeners(config: RabbitConfig, report: ReportBuilder): void {
  const tcp = [...config.under("mqtt.listeners.tcp"), ...config.under("web_mqtt.tcp").filter(({ key }) => key.endsWith(".port"))];
  const none = config.get("mqtt.listeners.tcp");
  for (const { key, value, place } of tcp) {
    if (isLoopbackBind(value)) continue;
    const kind = key.startsWith("web_mqtt") ? "MQTT over WebSocket" : "MQTT";
    const where = /^(\d+|(0\.0\.0\.0|\[?::\]?|\*):\d+)$/.test(value) ? "on every interface" : `on ${value}`;
    report.find(
      "HW040",
      `Plain ${kind} listener ${where} (${value}): credentials and messages can be read and changed on the way.`,
      place,
      { edits: [replace(place, key.startsWith("mqtt") ? "mqtt.listeners.tcp = none" : `# ${place.text}`)] },
    );
  }
  const speaksMqtt = config.entries.some(({ key }) => key.startsWith("mqtt."));
  if (tcp.length === 0 && none?.value !== "none" && speaksMqtt) {
    const place = config.under("mqtt.listeners.ssl")[0]?.place ?? config.everything;
    report.find(
      "HW040",
      "mqtt.listeners.tcp = none is missing: RabbitMQ then opens plain MQTT on port 1883 of every interface, beside any TLS listener.",
      place,
      { edits: [{ place, action: "after", lines: ["mqtt.listeners.tcp = none"] }] },
    );
  }
}

function checkTls(config: RabbitConfig, report: ReportBuilder, directory: string, nowMs: number): void {
  for (const { key, value, place } of config.under("ssl_options.versions")) {
    if (/^tlsv1(\.[01])?$/.test(value))
      report.find("HW043", `${value} is accepted (${key}).`, place, { edits: [{ place, action: "remove", lines: [] }] });
  }
  const suites = ["ssl_options.ciphers", "web_mqtt.ssl.ciphers"].flatMap((key) => config.under(key));
  for (const { value, place } of suites.filter((suite) => weakSuites([suite.value]).length > 0))
    report.find("HW044", `The weak suite ${value} is admitted.`, place, { edits: [{ place, action: "remove", lines: [] }] });
  const hasTls = config.under("mqtt.listeners.ssl").length > 0;
  const verify = config.get("ssl_options.verify");
  const demands = config.get("ssl_options.fail_if_no_peer_cert");
  const certLogin = config.get("mqtt.ssl_cert_login");
  const needsCertificates =
    certLogin?.value === "true" || config.get("mqtt.allow_anonymous")?.value === "true" || guestFromAfar(config) !== undefined;
  if (hasTls && verify?.value === "verify_none" && needsCertificates) {
    report.find("HW054", "The TLS listener does not ask for a client certificate (verify_none).", verify.place, {
      edits: [
        replace(verify.place, "ssl_options.verify = verify_peer"),
        ...(demands === undefined ? [] : [replace(demands.place, "ssl_options.fail_if_no_peer_cert = true")]),
      ],
    });
  } else if (hasTls && certLogin?.value === "true" && demands?.value !== "true") {
    report.find(
      "HW054",
      "Names come from certificates, but the TLS listener lets clients in without one (fail_if_no_peer_cert is not true).",
      (demands ?? certLogin).place,
      {
        fix: ["ssl_options.fail_if_no_peer_cert = true"],
        edits: demands === undefined ? [] : [replace(demands.place, "ssl_options.fail_if_no_peer_cert = true")],
      },
    );
  }
  const certfile = config.get("ssl_options.certfile");
  const leaf =
    certfile === undefined ? undefined : certificatesOf(readText(join(directory, certfile.value)) ?? readText(certfile.value) ?? "")?.[0];
  if (leaf !== undefined)
    for (const problem of serverCertificateProblems(leaf, nowMs))
      report.find("HW045", `The broker's certificate ${problem.what}.`, certfile?.place, { severity: problem.severity });
  const keyfile = config.get("ssl_options.keyfile");
  if (keyfile !== undefined && othersMayRead(join(directory, keyfile.value)) === true) {
    report.find("HW005", `${keyfile.value} is readable by every user of the machine, who can be the broker.`, keyfile.place, {
      severity: "high",
      fix: [`chmod 600 ${keyfile.value}`],
    });
  }
}

/** Its plugin may be off: only a file that sets the plain port up says that it is meant to be there. */
function checkManagement(config: RabbitConfig, report: ReportBuilder): void {
  const port = config.get("management.tcp.port") ?? config.get("management.listener.port");
  const ip = config.get("management.tcp.ip") ?? config.get("management.listener.ip");
  const isTls = config.get("management.listener.ssl")?.value === "true";
  if (isTls || (port === undefined && ip === undefined) || (ip !== undefined && isLoopbackBind(ip.value))) return;
  const loopback = "management.tcp.ip = 127.0.0.1";
  const edits: Edit[] = [];
  if (ip !== undefined) edits.push(replace(ip.place, loopback));
  else if (port !== undefined) edits.push({ place: port.place, action: "after", lines: [loopback] });
  report.find(
    "HW011",
    `The management interface speaks plain HTTP on ${ip?.value ?? "every interface"} (port ${port?.value ?? "15672"}).`,
    (ip ?? port)?.place,
    { severity: "medium", edits },
  );
}

/** The header names the sender's address: whoever reaches the port directly writes what it likes there. */
function checkProxy(config: RabbitConfig, report: ReportBuilder): void {
  const proxy = config.get("mqtt.proxy_protocol");
  const listeners = [...config.under("mqtt.listeners.tcp"), ...config.under("mqtt.listeners.ssl")];
  if (proxy?.value !== "true" || listeners.length === 0 || listeners.every(({ value }) => isLoopbackBind(value))) return;
  report.find("HW010", "The MQTT listeners believe the PROXY header of whoever connects: any source address can be claimed.", proxy.place, {
    fix: ["mqtt.listeners.ssl.default = 127.0.0.1:8883"],
  });
}

/** Without a line of its own, RabbitMQ logs to a file. */
function checkLogging(config: RabbitConfig, report: ReportBuilder): void {
  const file = config.get("log.file");
  const others = ["log.console", "log.syslog", "log.exchange", "log.journald"];
  const level = ["log.file.level", "log.default.level"].map((key) => config.get(key)).find((entry) => entry?.value === "none");
  const off = file?.value === "false" ? file : level;
  if (off === undefined || others.some((key) => config.get(key)?.value === "true")) return;
  report.find("HW006", `The broker logs nowhere (${off.key} = ${off.value}): refused passwords leave no trace.`, off.place, {
    edits: [{ place: off.place, action: "remove", lines: [] }],
  });
}
