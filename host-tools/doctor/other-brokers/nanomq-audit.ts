/** NanoMQ's nanomq.conf. The surprises named here were seen on 0.25.5. */
import { basename, dirname, join } from "node:path";
import type { DoctorReport, Place } from "../finding.js";
import { readConfigText, readText } from "../mosquitto/conf-reader.js";
import { placesIn } from "./emqx-audit.js";
import { isEverything } from "../mosquitto/topic-sets.js";
import { HoconObject, parseHocon } from "./hocon.js";
import { isLoopbackBind, isWellKnown, ReportBuilder } from "./report-builder.js";

/** @throws HawserError `BAD_BROKER_CONFIG` */
export function auditNanomq(file: string, version: string): DoctorReport {
  const text = readConfigText(file);
  const config = parseHocon(text);
  const report = new ReportBuilder();
  const placeOf = placesIn(file, text, config);
  for (const kind of ["tcp", "ws"] as const) {
    for (const path of listenersOf(config, kind)) {
      // NanoMQ ignores `enable = false` of WebSocket listeners.
      const bind = config.text(`${path}.bind`);
      if (bind === undefined || isLoopbackBind(bind) || (kind === "tcp" && config.text(`${path}.enable`) === "false")) continue;
      report.find(
        "HW040",
        `${kind === "ws" ? "MQTT over WebSocket" : "MQTT"} without TLS on ${bind}: credentials and messages can be read and changed on the way.`,
        placeOf(`${path}.bind`),
        { fix: [`${path}.bind = "127.0.0.1:${bind.split(":").at(-1) ?? "1883"}"`] },
      );
    }
  }
  checkClassicListeners(config, report, placeOf);
  checkTls(config, report, placeOf);
  checkAuth(config, report, placeOf, dirname(file));
  checkHttpServer(config, report, placeOf);
  checkBridges(config, report, placeOf);
  return report.report(file, "nanomq", version, [basename(file)]);
}

type PlaceOf = ReturnType<typeof placesIn>;

/** The format of before 0.14 (nanomq_old.conf): one key a line. */
function checkClassicListeners(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  for (const key of ["url", "websocket.url"]) {
    const url = config.text(key) ?? "";
    if (!/^(nmq-|mqtt-)?(tcp|ws):\/\//.test(url) || isLoopbackBind(url.replace(/^(.*:\/\/[^/]*).*$/, "$1"))) continue;
    if (key === "websocket.url" && config.text("websocket.enable") === "false") continue;
    report.find("HW040", `MQTT without TLS on ${url}: credentials and messages can be read and changed on the way.`, placeOf(key), {
      fix: [`${key}=${url.replace(/:\/\/[^:/]*/, "://127.0.0.1")}`],
    });
  }
}

/** `listeners.tcp` and, since 0.21, any number with a name below it. */
function listenersOf(config: HoconObject, kind: "tcp" | "ws" | "ssl"): readonly string[] {
  const first = config.object(`listeners.${kind}`);
  const named = (first?.keys() ?? []).filter((name) => first?.object(name)?.text("bind") !== undefined);
  return first === undefined ? [] : [`listeners.${kind}`, ...named.map((name) => `listeners.${kind}.${name}`)];
}

function checkTls(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  if (config.object("listeners.ssl") === undefined) return;
  if (config.object("listeners.wss") === undefined) {
    report.find(
      "HW042",
      "NanoMQ opens MQTT over secure WebSocket on 0.0.0.0:8086 when listeners.wss names no other address.",
      placeOf("listeners.ssl"),
      { severity: "medium", fix: ['listeners.wss.bind = "127.0.0.1:8086/mqtt"'] },
    );
  }
  if (config.text("listeners.ssl.verify_peer") === "true" && config.text("listeners.ssl.fail_if_no_peer_cert") !== "true") {
    report.find(
      "HW054",
      "The TLS listener takes clients without a certificate (fail_if_no_peer_cert is not true).",
      placeOf("listeners.ssl.verify_peer"),
      { fix: ["listeners.ssl.fail_if_no_peer_cert = true"] },
    );
  }
}

function checkAuth(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf, directory: string): void {
  const isGated =
    config.object("listeners.tcp") === undefined &&
    listenersOf(config, "ssl").every(
      (path) => config.text(`${path}.bind`) === undefined || config.text(`${path}.fail_if_no_peer_cert`) === "true",
    ) &&
    config.text("listeners.ssl.fail_if_no_peer_cert") === "true";
  // Up to 0.18 it stood below mqtt.session.
  const anonymous =
    config.text("auth.allow_anonymous") ?? config.text("mqtt.session.allow_anonymous") ?? config.text("allow_anonymous") ?? "true";
  const hasPasswords = config.at("auth.password") !== undefined || config.object("auth.http_auth") !== undefined;
  if (anonymous === "true" && !isGated) {
    report.find(
      "HW020",
      "Clients without credentials are let in (auth.allow_anonymous is true, or not set).",
      placeOf("auth.allow_anonymous") ?? placeOf("mqtt.session.allow_anonymous") ?? placeOf("allow_anonymous") ?? placeOf("auth"),
      { fix: ["auth.allow_anonymous = false"] },
    );
  } else if (!hasPasswords && !isGated) {
    report.find(
      "HW023",
      "Any user name and password is accepted: NanoMQ checks none when the auth block has neither a password file nor http_auth.",
      placeOf("auth.allow_anonymous") ?? placeOf("auth"),
      { fix: ['auth.password = { include "/etc/nanomq_pwd.conf" }'] },
    );
  }
  if (config.object("http_auth") !== undefined && config.object("auth.http_auth") === undefined)
    report.find("HW003", "http_auth has no effect outside the auth block.", placeOf("http_auth"), { severity: "high" });
  if ((config.text("auth.no_match") ?? "allow") === "allow")
    report.find(
      "HW032",
      "auth.no_match is allow (or not set): every topic that no rule names is open to every client.",
      placeOf("auth.no_match") ?? placeOf("auth"),
      { fix: ["auth.no_match = deny"] },
    );
  checkRules(config, report, directory);
  const passwords = readText(join(directory, "nanomq_pwd.conf")) ?? "";
  for (const match of passwords.matchAll(/^\s*"?([^"\s:=#]+)"?\s*[:=]\s*"?([^"\s]+)"?/gm)) {
    const [, user = "", password = ""] = match;
    if (!isWellKnown(user, password)) continue;
    const line = passwords.slice(0, match.index).split("\n").length;
    report.find("HW026", `The user ${user} has a password everybody tries.`, { file: "nanomq_pwd.conf", line, text: `${user}: ...` });
  }
}

/** The rules of nanomq_acl.conf: the first that matches counts. */
function checkRules(config: HoconObject, report: ReportBuilder, directory: string): void {
  const file = "nanomq_acl.conf";
  const text = readText(join(directory, file));
  const rules = (text === undefined ? config.list("auth.acl.rules") : parseHocon(text).list("rules")) ?? [];
  const lines = (text ?? "").split("\n");
  for (const rule of rules) {
    if (!(rule instanceof HoconObject)) continue;
    const isForAll = ["username", "clientid", "ipaddr", "and", "or"].every((key) => rule.at(key) === undefined || rule.text(key) === "#");
    if (!isForAll) continue;
    const topics = rule.list("topics")?.filter((topic) => typeof topic === "string");
    const at = rule.at("permit")?.line ?? 0;
    const place = text === undefined ? undefined : { file, line: at, text: (lines[at - 1] ?? "").trim() };
    if (rule.text("permit") === "allow") {
      if (topics === undefined)
        report.find("HW032", "A rule without names and topics allows everybody everything.", place, { fix: ['{"permit": "deny"}'] });
      else if (topics.some((topic) => isEverything(topic)))
        report.find("HW061", "A rule without names lets every user use every topic.", place, {
          fix: ['"topics": ["devices/${username}/#"]'],
        });
      checkTopics(report, rule.text("action") ?? "pubsub", topics ?? [], place);
    }
    if (topics === undefined) return;
  }
}

/** Topics that a rule gives to everybody. */
function checkTopics(report: ReportBuilder, action: string, topics: readonly string[], place: Place | undefined): void {
  const claimed = topics.find((topic) => topic.includes("${clientid}") && !topic.includes("${username}"));
  if (claimed !== undefined)
    report.find("HW066", `${claimed} hangs on the client id, and a client chooses its own: it gets the topics of any other.`, place, {
      fix: [`"topics": ["${claimed.replaceAll("${clientid}", "${username}")}"]`],
    });
  const inner = topics.find((topic) => topic.startsWith("$SYS/") && topic.includes("#"));
  if (inner !== undefined && action !== "publish")
    report.find("HW065", `Every user may read ${inner}: when who connects, from where, and as whom.`, place, {
      fix: [`{"permit": "allow", "username": "monitor", "action": "subscribe", "topics": ["${inner}"]}`],
    });
}

function checkHttpServer(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  const server = config.object("http_server");
  if (server === undefined) return;
  const ip = server.text("ip_addr") ?? "0.0.0.0";
  const [user, password] = [server.text("username") ?? "admin", server.text("password") ?? "public"];
  if (isWellKnown(user, password))
    report.find(
      "HW026",
      `The REST interface of NanoMQ (port ${server.text("port") ?? "8081"}) has the password everybody tries for ${user}.`,
      placeOf("http_server"),
      { severity: isLoopbackBind(ip) ? "medium" : "critical" },
    );
  else if (!isLoopbackBind(ip))
    report.find(
      "HW011",
      `The REST interface of NanoMQ speaks plain HTTP on ${ip} (port ${server.text("port") ?? "8081"}).`,
      placeOf("http_server.ip_addr") ?? placeOf("http_server"),
      { severity: "medium", fix: ['http_server.ip_addr = "127.0.0.1"'] },
    );
}

function checkBridges(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  for (const name of config.object("bridges.mqtt")?.keys() ?? []) {
    const path = `bridges.mqtt.${name}`;
    const server = config.text(`${path}.server`) ?? "";
    if (server === "" || config.text(`${path}.enable`) === "false") continue;
    if (/^(mqtt-)?(tcp|ws):\/\//.test(server))
      report.find(
        "HW051",
        `The bridge ${name} to ${server} has no TLS: its password and every message go over the network in the clear.`,
        placeOf(`${path}.server`),
        { fix: [`${path}.server = "tls+mqtt-tcp://HOST:8883"`] },
      );
    const takesAll = (config.list(`${path}.subscription`) ?? []).some(
      (entry) =>
        entry instanceof HoconObject && isEverything(entry.text("remote_topic") ?? "") && isEverything(entry.text("local_topic") || "#"),
    );
    if (takesAll)
      report.find(
        "HW068",
        `The bridge ${name} takes every topic of the far broker: its clients write our commands, past our rules.`,
        placeOf(`${path}.subscription`) ?? placeOf(path),
        { fix: ['remote_topic = "commands/#"'] },
      );
  }
}
