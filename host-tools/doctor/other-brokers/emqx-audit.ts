/** EMQX 5 and 6: emqx.conf, as far as the file says it. What the dashboard changed since lies in cluster.hocon. */
import { basename, dirname, join } from "node:path";
import type { DoctorReport, Place } from "../finding.js";
import { readConfigText, readText } from "../mosquitto/conf-reader.js";
import { parseEmqxRules } from "./emqx-rules.js";
import { auditEmqx4, isEmqx4 } from "./emqx4-audit.js";
import { HoconObject, parseHocon } from "./hocon.js";
import { isLoopbackBind, isWellKnown, ReportBuilder, weakSuites } from "./report-builder.js";
import { hasWildcard, isEverything, overlaps } from "../mosquitto/topic-sets.js";

/** When a client connects, with its address and user name. */
const CLIENT_EVENTS = "$SYS/brokers/node/clients/id/connected";
const DEFAULT_PLAIN = { tcp: "0.0.0.0:1883", ws: "0.0.0.0:8083" } as const;

/** @throws HawserError `BAD_BROKER_CONFIG` */
export function auditEmqx(file: string, version: string): DoctorReport {
  const text = readConfigText(file);
  if (isEmqx4(text)) return auditEmqx4(file, text);
  const config = parseHocon(text);
  const report = new ReportBuilder();
  const placeOf = placesIn(file, text, config);
  const isHardened = /^6\.([3-9]|\d\d)/.test(version);
  for (const kind of ["tcp", "ws"] as const) checkPlainListeners(config, report, placeOf, kind, isHardened);
  for (const kind of ["ssl", "wss"] as const) checkTlsListeners(config, report, placeOf, kind);
  checkProxy(config, report, placeOf);
  checkBridges(config, report, placeOf);
  checkLogging(config, report, placeOf);
  checkAuthentication(config, report, placeOf);
  checkAuthorization(config, report, placeOf, dirname(file), isHardened);
  checkDashboard(config, report, placeOf);
  checkCookie(config, report, placeOf);
  if (config.text("psk_authentication.enable") === "true") {
    report.find(
      "HW028",
      "EMQX does not tie a PSK identity to a user name: every holder of any key may claim any name.",
      placeOf("psk_authentication.enable"),
      { fix: ["psk_authentication.enable = false"] },
    );
  }
  return report.report(file, "emqx", version, [basename(file)]);
}

type PlaceOf = (path: string) => Place | undefined;

export function placesIn(file: string, text: string, config: HoconObject): PlaceOf {
  const lines = text.split("\n");
  return (path) => {
    const line = config.at(path)?.line;
    return line === undefined ? undefined : { file: basename(file), line, text: (lines[line - 1] ?? "").trim() };
  };
}

function isOff(config: HoconObject, path: string): boolean {
  return config.text(`${path}.enable`) === "false" || config.text(`${path}.enabled`) === "false";
}

function checkPlainListeners(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf, kind: "tcp" | "ws", isHardened: boolean): void {
  const named = config.object(`listeners.${kind}`);
  const names = new Set([...(named?.keys() ?? []), ...(isHardened ? [] : ["default"])]);
  for (const name of names) {
    const path = `listeners.${kind}.${name}`;
    if (isOff(config, path)) continue;
    const bind = config.text(`${path}.bind`) ?? DEFAULT_PLAIN[kind];
    if (isLoopbackBind(bind)) continue;
    const isImplied = config.object(path) === undefined;
    const what = `${kind === "ws" ? "MQTT over WebSocket" : "MQTT"} without TLS on ${bind}${isImplied ? ": EMQX opens this listener unless it is switched off" : ""}. Credentials and messages can be read and changed on the way.`;
    report.find("HW040", what, placeOf(`${path}.bind`) ?? placeOf(path) ?? placeOf("listeners"), { fix: [`${path} { enable = false }`] });
  }
}

function checkTlsListeners(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf, kind: "ssl" | "wss"): void {
  for (const name of config.object(`listeners.${kind}`)?.keys() ?? []) {
    if (isOff(config, `listeners.${kind}.${name}`)) continue;
    const path = `listeners.${kind}.${name}.ssl_options`;
    const verifies = config.text(`${path}.verify`) === "verify_peer";
    const demands = verifies && config.text(`${path}.fail_if_no_peer_cert`) === "true";
    const source = config.text("mqtt.peer_cert_as_username") ?? config.text("mqtt.peer_cert_as_clientid");
    if (source !== undefined && source !== "disabled" && !demands) {
      report.find(
        "HW054",
        `Names come from certificates, but the listener ${kind}:${name} lets clients in without one.`,
        placeOf(`${path}.verify`) ?? placeOf(`listeners.${kind}.${name}`),
        {
          // Where passwords are asked for as well, a client without a certificate still needs one.
          severity: authenticators(config).length > 0 ? "medium" : "high",
          fix: [`${path} { verify = verify_peer, fail_if_no_peer_cert = true }`],
        },
      );
    }
    if (config.text(`${path}.enable_crl_check`) === "true") {
      if (!verifies)
        report.find(
          "HW001",
          `enable_crl_check needs verify = verify_peer on ${kind}:${name}: the broker refuses this configuration.`,
          placeOf(`${path}.enable_crl_check`),
        );
      else if (kind === "wss")
        report.find("HW047", `EMQX checks revocation on ssl listeners only, not on wss:${name}.`, placeOf(`${path}.enable_crl_check`));
    }
    const weak = weakSuites((config.list(`${path}.ciphers`) ?? []).filter((suite) => typeof suite === "string"));
    if (weak.length > 0)
      report.find("HW044", `The listener ${kind}:${name} admits weak suites: ${weak.join(", ")}.`, placeOf(`${path}.ciphers`), {
        fix: [`${path}.ciphers = []`],
      });
    const old = (config.list(`${path}.versions`) ?? []).filter((version) => version === "tlsv1" || version === "tlsv1.1");
    if (old.length > 0)
      report.find("HW043", `The listener ${kind}:${name} accepts ${old.join(", ")}.`, placeOf(`${path}.versions`), {
        fix: [`${path}.versions = [tlsv1.3, tlsv1.2]`],
      });
  }
}

function checkProxy(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  for (const kind of ["tcp", "ws", "ssl", "wss"]) {
    for (const name of config.object(`listeners.${kind}`)?.keys() ?? []) {
      const path = `listeners.${kind}.${name}`;
      if (isOff(config, path) || config.text(`${path}.proxy_protocol`) !== "true" || isLoopbackBind(config.text(`${path}.bind`) ?? ""))
        continue;
      const what = `The listener ${kind}:${name} believes the PROXY header of whoever connects: any source address can be claimed.`;
      report.find("HW010", what, placeOf(`${path}.proxy_protocol`), { fix: [`${path}.bind = "127.0.0.1:8883"`] });
    }
  }
}

/** MQTT bridges: `connectors.mqtt` since 5.4, `bridges.mqtt` before. */
function checkBridges(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  for (const kind of ["connectors.mqtt", "bridges.mqtt"]) {
    for (const name of config.object(kind)?.keys() ?? []) {
      const path = `${kind}.${name}`;
      const server = config.text(`${path}.server`) ?? "";
      if (server === "" || config.text(`${path}.enable`) === "false" || isLoopbackBind(server)) continue;
      if (config.text(`${path}.ssl.enable`) !== "true")
        report.find(
          "HW051",
          `The bridge ${name} to ${server} has no TLS: its password and every message go over the network in the clear.`,
          placeOf(`${path}.server`),
          { fix: [`${path}.ssl { enable = true, verify = verify_peer, cacertfile = "ca.pem" }`] },
        );
      else if (config.text(`${path}.ssl.verify`) !== "verify_peer")
        report.find(
          "HW052",
          `The bridge ${name} takes any certificate for ${server} (ssl.verify is not verify_peer).`,
          placeOf(`${path}.ssl`),
          {
            fix: [`${path}.ssl { verify = verify_peer, cacertfile = "ca.pem" }`],
          },
        );
    }
  }
}

/** Without lines of its own, EMQX logs to the console or a file. */
function checkLogging(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  const files = config.object("log.file");
  const isFileOff =
    files !== undefined && (isOff(config, "log.file") || [...files.keys()].every((name) => isOff(config, `log.file.${name}`)));
  if (!isFileOff || !isOff(config, "log.console")) return;
  report.find(
    "HW006",
    "The broker logs nowhere (log.console and log.file are off): refused passwords leave no trace.",
    placeOf("log.console"),
    {
      fix: ["log.file.default { enable = true, level = warning }"],
    },
  );
}

/** @param path of a listener, for its own chain, which then counts in place of the common one */
function authenticators(config: HoconObject, path?: string): readonly HoconObject[] {
  const key = path === undefined ? "authentication" : `${path}.authentication`;
  const listed = config.list(key)?.filter((value) => value instanceof HoconObject);
  const single = config.object(key);
  return [...(listed ?? []), ...(single === undefined ? [] : [single])].filter((entry) => entry.text("enable") !== "false");
}

function checkAuthentication(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  const hasAuthenticators = authenticators(config).length > 0;
  const open = (["tcp", "ws", "ssl", "wss", "quic"] as const).flatMap((kind) => {
    const names = new Set([...(config.object(`listeners.${kind}`)?.keys() ?? []), "default"]);
    return [...names].map((name) => ({ kind, name, path: `listeners.${kind}.${name}` }));
  });
  const reachable = open.filter(({ path, kind }) => {
    const asks = config.text(`${path}.enable_authn`);
    const isAsked = hasAuthenticators || authenticators(config, path).length > 0;
    if (isOff(config, path) || (isAsked ? asks !== "false" : asks === "true")) return false;
    if (kind !== "tcp" && kind !== "ws" && config.object(path) === undefined) return false;
    const isGated =
      config.text(`${path}.ssl_options.verify`) === "verify_peer" && config.text(`${path}.ssl_options.fail_if_no_peer_cert`) === "true";
    return !isGated && !isLoopbackBind(config.text(`${path}.bind`) ?? "");
  });
  if (reachable.length === 0) return;
  const where = reachable.map(({ kind, name }) => `${kind}:${name}`).join(", ");
  if (hasAuthenticators) {
    const path = `${reachable[0]?.path ?? ""}.enable_authn`;
    return report.find("HW020", `enable_authn = false lets everybody in on ${where}, under any name.`, placeOf(path), {
      fix: [`${path} = true`],
    });
  }
  report.find(
    "HW020",
    `No authentication is configured: EMQX lets everybody in on ${where}, under any name.`,
    placeOf("authentication") ?? placeOf("listeners"),
    { fix: ["authentication = [{ mechanism = password_based, backend = built_in_database, user_id_type = username }]"] },
  );
}

function checkAuthorization(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf, directory: string, isHardened: boolean): void {
  const noMatch = config.text("authorization.no_match") ?? (isHardened ? "deny" : "allow");
  const files = (config.list("authorization.sources") ?? []).filter(
    (source): source is HoconObject => source instanceof HoconObject && source.text("type") === "file" && source.text("enable") !== "false",
  );
  let decidesAll = false;
  for (const source of files) {
    const path = source.text("path") ?? "";
    const text = readText(join(directory, basename(path))) ?? readText(path);
    if (text === undefined) continue;
    const rules = text.split("\n").map((line, index) => ({ line: line.replace(/%.*$/, "").trim(), number: index + 1 }));
    const all = rules.find(({ line }) => /^\{\s*(allow|deny)\s*,\s*all\s*\}\s*\.$/.test(line));
    decidesAll ||= all !== undefined;
    checkRules(config, report, basename(path), text);
    if (all?.line.includes("allow") === true)
      report.find(
        "HW032",
        `The last rule of ${basename(path)} allows everybody everything.`,
        { file: basename(path), line: all.number, text: all.line },
        { fix: ["{deny, all}."] },
      );
  }
  if (noMatch === "allow" && !decidesAll)
    report.find(
      "HW032",
      "authorization.no_match is allow (the default): every topic that no rule names is open to every client.",
      placeOf("authorization.no_match") ?? placeOf("authorization"),
      { fix: ["authorization.no_match = deny"] },
    );
}

/** Rules of acl.conf that are for everybody: the first that matches counts. */
function checkRules(config: HoconObject, report: ReportBuilder, file: string, text: string): void {
  const source = config.text("mqtt.peer_cert_as_clientid") ?? "disabled";
  const ownsClientId = source !== "disabled" || config.text("mqtt.use_username_as_clientid") === "true";
  const rules = parseEmqxRules(file, text);
  for (const { permission, isForAll, action, topics, place } of rules) {
    if (permission !== "allow" || !isForAll) continue;
    const doing = action === "all" ? "read and write" : action === "publish" ? "write" : "read";
    const wide = topics.find((topic) => {
      if (hasNameLevel(topic) || !hasWildcard(topic) || topic.startsWith("$")) return false;
      return (
        isEverything(topic) ||
        rules.some((other) => other.isForAll && other.topics.some((own) => hasNameLevel(own) && overlaps(topic, own)))
      );
    });
    if (wide !== undefined) {
      const reach = isEverything(wide) ? "every topic" : `${wide}, the topics of all others included`;
      report.find("HW061", `${file} lets every user ${doing} ${reach}.`, place, {
        fix: [place.text.replace(`"${wide}"`, '"devices/${username}/#"')],
      });
    }
    const inner = topics.find((topic) => topic.startsWith("$SYS/") && overlaps(topic, CLIENT_EVENTS));
    if (inner !== undefined && action !== "publish")
      report.find("HW065", `${file} lets every user read ${inner}: when who connects, from where, and as whom.`, place, {
        fix: [`{allow, {username, "monitor"}, subscribe, ["${inner}"]}.`],
      });
    const claimed = topics.find((topic) => topic.includes("%c") && !topic.includes("%u"));
    if (claimed !== undefined && !ownsClientId)
      report.find("HW066", `${place.text} hangs on the client id, and a client chooses its own: it gets the topics of any other.`, place, {
        fix: [place.text.replaceAll("${clientid}", "${username}").replaceAll("%c", "${username}")],
      });
  }
}

function hasNameLevel(topic: string): boolean {
  return /%[uc]/.test(topic);
}

/** Whoever knows the cookie and reaches the nodes' port runs what he likes there. */
function checkCookie(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  if (!["emqxsecretcookie", "emqx50elixir"].includes(config.text("node.cookie") ?? "")) return;
  const place = placeOf("node.cookie");
  report.find(
    "HW026",
    "node.cookie is the one of EMQX's examples: who reaches the port between nodes (4370) runs any command on this one.",
    place === undefined ? undefined : { ...place, text: "cookie = ..." },
    { severity: "high", fix: ['node.cookie = "<openssl rand -hex 24>"'] },
  );
}

function checkDashboard(config: HoconObject, report: ReportBuilder, placeOf: PlaceOf): void {
  const user = config.text("dashboard.default_username") ?? "admin";
  const password = config.text("dashboard.default_password");
  if (password !== undefined && isWellKnown(user, password)) {
    const place = placeOf("dashboard.default_password");
    report.find(
      "HW026",
      `The dashboard's administrator ${user} has a password everybody tries.`,
      place === undefined ? undefined : { ...place, text: "default_password = ..." },
      { fix: ['dashboard.default_password = "<openssl rand -hex 24>"'] },
    );
  } else if (password === undefined)
    report.note("dashboard.default_password is not set: it is public until the first login changes it.", placeOf("dashboard"));
  const http = config.text("dashboard.listeners.http.bind");
  if (http !== undefined && http !== "0" && !isLoopbackBind(http) && config.text("dashboard.listeners.http.enable") !== "false") {
    report.find("HW011", `The dashboard speaks plain HTTP on ${http}.`, placeOf("dashboard.listeners.http.bind"), {
      severity: "medium",
      fix: ['dashboard.listeners.http.bind = "127.0.0.1:18083"'],
    });
  }
}
