import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { DoctorReport } from "../finding.js";
import { auditMosquitto } from "./mosquitto-audit.js";

/** mosquitto_passwd's line for `password`, with few rounds. */
const HASH_OF_ADMIN =
  "admin:$7$101$em9vLXNhbHQtMDEy$MS7YxkMUSsob1pkbB1LIg6TrD7Wn6d9Q2mP3wtJUkvMuoBE8lS6aiyG4lYeNg6IYuLAqX4Bg++FdLYmG2pQpgQ==\n";
const USERS =
  "pump-1:$7$101$GN3OqOmyeC4FM02s$oGeudP/7A4pmf4Q5zRN9yrgsaiTxrVuY2YeacHqEHpcTY6l12AF3CDXxtFLWFpDcLLSkjA8gHe1MmGIQolfT0g==\nconsole:$7$101$QzA7oZKSEG99cdL6$9mvXw1+ivgg4h4dPR8mKWHAUiCNg33ufsjMPxRbXelg0LGXUyCmdL19KixmWtpedFgHtzXdKuNzzfJbz/pO8dw==\n";
const GOOD_ACL =
  "user console\ntopic read telemetry/#\ntopic write commands/#\n\npattern write telemetry/%u/#\npattern read commands/%u/#\n";

function audit(files: Readonly<Record<string, string>>, version = "2.0.11", mode = 0o600): DoctorReport {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries({ passwd: USERS, acl: GOOD_ACL, ...files })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
    chmodSync(join(directory, name), mode);
  }
  return auditMosquitto(join(directory, "mosquitto.conf"), { version, nowMs: Date.parse("2026-06-01T00:00:00Z") });
}

/** `HW040 high mosquitto.conf:1` for each finding. */
function verdict(conf: string, files: Readonly<Record<string, string>> = {}, version?: string): string[] {
  return audit({ "mosquitto.conf": conf, ...files }, version).findings.map(
    ({ id, severity, place }) => `${id} ${severity} ${place?.file ?? ""}:${place?.line ?? ""}`,
  );
}

const GUARDED = "allow_anonymous false\npassword_file passwd\nacl_file acl\n";
/** Its files are not there, which is noted and no finding: only the listener's kind counts here. */
const TLS = "cafile /elsewhere/ca.crt\ncertfile /elsewhere/server.crt\nkeyfile /elsewhere/server.key\n";

describe("who gets in", () => {
  test.each<[string, string, string[]]>([
    ["an open broker", "listener 1883\nallow_anonymous true\n", ["HW020 critical mosquitto.conf:2", "HW040 high mosquitto.conf:1"]],
    [
      "a password file that guards nothing",
      `listener 8883\n${TLS}password_file passwd\nallow_anonymous true\n`,
      ["HW020 critical mosquitto.conf:6"],
    ],
    [
      "anonymous clients without topics",
      `listener 8883\n${TLS}password_file passwd\nacl_file acl\nallow_anonymous true\n`,
      ["HW021 high mosquitto.conf:7"],
    ],
    ["names that nobody checks", `listener 8883\n${TLS}acl_file acl\nallow_anonymous true\n`, ["HW023 critical mosquitto.conf:6"]],
    [
      "a certificate that names nobody",
      `listener 8883\n${TLS}require_certificate true\nacl_file acl\nallow_anonymous true\n`,
      ["HW024 high mosquitto.conf:7"],
    ],
    [
      "names from certificates that are not asked for",
      `listener 8883\n${TLS}use_identity_as_username true\nacl_file acl\n`,
      ["HW025 high mosquitto.conf:5"],
    ],
    [
      "a password file without users",
      `listener 8883\n${TLS}allow_anonymous false\npassword_file empty\nacl_file acl\n`,
      ["HW025 high mosquitto.conf:6"],
    ],
    [
      "a key file without keys",
      "listener 8884\npsk_hint x\npsk_file empty\nuse_identity_as_username true\nacl_file acl\n",
      ["HW025 high mosquitto.conf:3"],
    ],
    ["a listener without any way in", `listener 8883\n${TLS}`, ["HW025 high mosquitto.conf:1"]],
    [
      "a certificate and a key on one listener",
      `listener 8883\n${TLS}require_certificate true\nuse_identity_as_username true\nacl_file acl\npsk_hint x\n`,
      ["HW025 high mosquitto.conf:8"],
    ],
    [
      "keys that name nobody",
      "listener 8884\npsk_hint x\npsk_file psk\nacl_file acl\nallow_anonymous true\n",
      ["HW028 high mosquitto.conf:5"],
    ],
    ["local-only mode against the admin's wish", GUARDED, ["HW022 high mosquitto.conf:1"]],
    ["anonymous on loopback, as written", "listener 1883 127.0.0.1\nallow_anonymous true\n", []],
    ["nothing at all", "", []],
  ])("%s", (_, conf, expected) => {
    expect(verdict(conf, { psk: "pump-1:5e2a90cc17d3b8f4\n", empty: "# nobody yet\n" })).toEqual(expected);
  });

  test("local-only mode keeps allow_anonymous false from 2.0.21 on", () => {
    expect(verdict(GUARDED, {}, "2.0.20")).toEqual(["HW022 high mosquitto.conf:1"]);
    expect(verdict(GUARDED, {}, "2.0.21")).toEqual([]);
  });

  test("with per_listener_settings the woken default listener takes anonymous clients (2.0)", () => {
    const conf = `per_listener_settings true\npassword_file passwd\nlistener 8883\n${TLS}password_file passwd\nacl_file acl\n`;
    expect(verdict(conf)).toEqual(["HW020 critical mosquitto.conf:2", "HW042 high mosquitto.conf:2"]);
    expect(verdict(conf, {}, "2.1")).toEqual(["HW001 high mosquitto.conf:2"]);
  });

  test("listener_allow_anonymous of 2.1 wins over allow_anonymous", () => {
    const conf = `allow_anonymous false\npassword_file passwd\nacl_file acl\nlistener 8883\n${TLS}listener 8884\n${TLS}listener_allow_anonymous true\n`;
    expect(verdict(conf, {}, "2.1")).toEqual(["HW021 high mosquitto.conf:12"]);
    expect(verdict(conf)).toEqual(["HW001 high mosquitto.conf:12"]);
  });

  test("a password everybody tries", () => {
    expect(verdict(`listener 8883\n${TLS}${GUARDED}`, { passwd: HASH_OF_ADMIN })).toEqual(["HW026 critical passwd:1"]);
  });
});

test("a dynamic security file with mosquitto_ctrl's own mode is noted, and no finding", () => {
  const conf = `listener 8883\n${TLS}plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\nplugin_opt_config_file dynsec.json\nallow_anonymous false\n`;
  const acls = { publishClientSend: false, publishClientReceive: true, subscribe: false, unsubscribe: true };
  const state = JSON.stringify({ defaultACLAccess: acls, clients: [], groups: [], roles: [] });
  const { findings, notes } = audit({ "mosquitto.conf": conf, "dynsec.json": state }, "2.0.11", 0o644);
  expect(findings).toEqual([]);
  expect(notes.map(({ what }) => what).join("\n")).toMatch(/dynsec\.json is readable by every user/);
});

describe("what crosses the network", () => {
  test.each<[string, string, string[]]>([
    ["a plain port", `listener 1883\n${GUARDED}`, ["HW040 high mosquitto.conf:1"]],
    [
      "a stray option",
      `${GUARDED}max_connections 200\nlistener 8883\n${TLS}`,
      ["HW042 high mosquitto.conf:4", "HW003 low mosquitto.conf:4"],
    ],
    ["allow_anonymous and acl_file alone wake nothing", `${GUARDED}listener 8883\n${TLS}`, []],
    ["cafile without certificate and key", `listener 8883\ncafile /elsewhere/ca.crt\n${GUARDED}`, ["HW041 high mosquitto.conf:2"]],
    ["a PSK file without hint", `listener 8883\npsk_file psk\n${GUARDED}`, ["HW041 high mosquitto.conf:2"]],
    [
      "a WebSocket listener beside TLS",
      `listener 8883\n${TLS}listener 9001\nprotocol websockets\n${GUARDED}`,
      ["HW040 high mosquitto.conf:5"],
    ],
    [
      "a WebSocket listener's address, which is ignored",
      `listener 8883\n${TLS}listener 9001 127.0.0.1\nprotocol websockets\n${GUARDED}`,
      ["HW055 high mosquitto.conf:5", "HW040 high mosquitto.conf:5"],
    ],
    ["TLS 1.1", `listener 8883\n${TLS}tls_version tlsv1.1\nciphers DEFAULT:@SECLEVEL=0\n${GUARDED}`, ["HW043 medium mosquitto.conf:5"]],
    [
      "suites without encryption",
      `listener 8883\n${TLS}ciphers ALL:eNULL\ntls_version tlsv1.2\n${GUARDED}`,
      ["HW044 medium mosquitto.conf:5"],
    ],
    ["suites that exclude the weak ones", `listener 8883\n${TLS}ciphers HIGH:!aNULL:!RC4:!3DES\n${GUARDED}`, []],
  ])("%s", (_, conf, expected) => {
    expect(verdict(conf, { psk: "pump-1:5e2a90cc17d3b8f4\n" })).toEqual(expected);
  });

  test("bind_interface lo and a UNIX socket are no network", () => {
    expect(verdict(`listener 1883\nbind_interface lo\nlistener 0 /run/m.sock\n${GUARDED}`)).toEqual([]);
  });
});

test("another file is refused as one, and a configuration with mistyped options is not", () => {
  expect(() => verdict('{\n  "name": "x",\n  "version": "1"\n}\n')).toThrow(/is not a configuration of mosquitto: none of its 4 settings/);
  expect(verdict("listner 1883\nalow_anonymous true\npasword_file x\n")).toHaveLength(3);
  expect(verdict("{\n")).toEqual(["HW001 high mosquitto.conf:1"]);
});

test("a pipe that a configuration names is not waited for", () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  execFileSync(
    "mkfifo",
    ["passwd", "acl", "cert"].map((name) => join(directory, name)),
  );
  writeFileSync(join(directory, "mosquitto.conf"), `listener 8883\ncertfile cert\nkeyfile cert\n${GUARDED}`);
  const { findings, notes } = auditMosquitto(join(directory, "mosquitto.conf"), { version: "2.0.11", nowMs: 0 });
  expect(findings).toEqual([]);
  for (const name of ["passwd", "acl", "cert"])
    expect(notes.map(({ what }) => what)).toContainEqual(expect.stringContaining(`${name} is a pipe or a device`));
  expect(() => auditMosquitto(join(directory, "acl"), { version: "2.0.11", nowMs: 0 })).toThrow(/is not a regular file/);
});

describe("what stops the broker", () => {
  test.each<[string, string, string]>([
    ["a typo", "listener 1883 127.0.0.1\nallow_anonymus false\n", "mosquitto.conf:2"],
    ["a value that is no boolean", "listener 1883 127.0.0.1\nallow_anonymous yes\n", "mosquitto.conf:2"],
    ["a tab", "listener 1883 127.0.0.1\nallow_anonymous\tfalse\n", "mosquitto.conf:2"],
    ["an indented comment", "listener 1883 127.0.0.1\n  # quiet\n", "mosquitto.conf:2"],
    ["per_listener_settings too late", "allow_anonymous false\nper_listener_settings true\n", "mosquitto.conf:2"],
    ["a comment behind the user", "user mosquitto # ours\nlistener 1883 127.0.0.1\n", "mosquitto.conf:1"],
    ["a negative interval", "listener 1883 127.0.0.1\nsys_interval -1\n", "mosquitto.conf:2"],
    ["a bridge without topics", "listener 1883 127.0.0.1\nconnection hub\naddress 127.0.0.1\n", "mosquitto.conf:2"],
    ["two listeners on one port", "listener 1883 127.0.0.1\nlistener 1883\n", "mosquitto.conf:2"],
    ["an option of 2.1", "listener 1883 127.0.0.1\nlistener_allow_anonymous false\n", "mosquitto.conf:2"],
    ["WebSocket listeners alone (2.0.11)", "listener 9001\nprotocol websockets\n", "mosquitto.conf:1"],
  ])("%s", (_, conf, place) => {
    const report = audit({ "mosquitto.conf": conf });
    expect(report.starts).toBe(false);
    expect(report.findings.map(({ id, place: at }) => `${id} ${at?.file ?? ""}:${at?.line ?? ""}`)).toEqual([`HW001 ${place}`]);
  });

  test("a comment behind a file name is part of the name", () => {
    expect(verdict("listener 1883 127.0.0.1\npassword_file passwd # users\n")).toEqual(["HW002 high mosquitto.conf:2"]);
  });

  test("an ACL file that mosquitto cannot read", () => {
    expect(verdict(`listener 8883\n${TLS}${GUARDED}`, { acl: "user a\ntopic reed x/#\n" })).toEqual(["HW001 high acl:2"]);
  });

  test("what it would open is noted, not counted", () => {
    const { findings, notes } = audit({ "mosquitto.conf": "listener 1883\nallow_anonymous true\nallow_nonsense 1\n" });
    expect(findings.map(({ id }) => id)).toEqual(["HW001"]);
    expect(notes.map(({ what }) => what).join("\n")).toMatch(/Once the broker starts: HW020/);
  });
});

describe("what an ACL gives", () => {
  const acl = (text: string, more = ""): string[] => verdict(`listener 8883\n${TLS}${GUARDED}${more}`, { acl: text });
  test.each<[string, string, string[]]>([
    ["patterns with %u", GOOD_ACL, []],
    ["everything to everybody", "pattern readwrite #\n", ["HW061 high acl:1"]],
    ["a pattern over the topics of others", "pattern write telemetry/%u/#\npattern read telemetry/#\n", ["HW061 high acl:2"]],
    ["announcements for everybody", "user console\ntopic write news/#\npattern read news/#\npattern write telemetry/%u/#\n", []],
    ["read after readwrite", "user console\ntopic readwrite #\ntopic read commands/#\n", ["HW062 high acl:2"]],
    ["a deny after the allow", "user console\ntopic readwrite vault/#\ntopic deny vault/#\n", []],
    ["a pattern's deny against a user's own topic", "user console\ntopic read #\n\npattern deny vault/#\n", ["HW063 high acl:4"]],
    [
      "a pattern's deny with a name against a device's own topic",
      "user console\ntopic read devices/#\nuser pump-1\ntopic readwrite devices/pump-1/#\n\npattern deny devices/%u/vault\n",
      ["HW063 high acl:6"],
    ],
    ["a device with everything", "user pump-1\ntopic read #\n", ["HW064 high acl:2"]],
    [
      "a device with the topics of another",
      "user pump-1\ntopic read pumps/#\nuser pump-2\ntopic write pumps/pump-2/#\n",
      ["HW064 high acl:2"],
    ],
    ["client ids", "pattern readwrite devices/%c/#\n", ["HW066 high acl:1"]],
    ["a user in other letters", "user Console\ntopic read telemetry/#\n", ["HW067 medium acl:1"]],
    ["a comment behind a user", "user console # ours\ntopic read telemetry/#\n", ["HW067 medium acl:1"]],
    ["$SYS without the log", "pattern read $SYS/#\npattern write telemetry/%u/#\n", []],
  ])("%s", (_, text, expected) => {
    expect(acl(text)).toEqual(expected);
  });

  test("the log under $SYS", () => {
    expect(acl("pattern read $SYS/#\n", "log_dest topic\n")).toEqual(["HW065 medium acl:1"]);
    expect(acl("user monitor\ntopic read $SYS/#\n", "log_dest topic\n")).toEqual([]);
  });

  test("client ids are names with use_username_as_clientid", () => {
    expect(verdict(`listener 8883\n${TLS}use_username_as_clientid true\n${GUARDED}`, { acl: "pattern readwrite devices/%c/#\n" })).toEqual(
      [],
    );
  });

  test("users that no certificate names, where names are subjects", () => {
    const conf = `listener 8883\n${TLS}require_certificate true\nuse_subject_as_username true\nacl_file acl\n`;
    expect(verdict(conf)).toEqual(["HW067 medium acl:1"]);
    expect(verdict(conf, { acl: GOOD_ACL.replace("user console", "user CN=console") })).toEqual([]);
  });

  test("no ACL at all", () => {
    expect(verdict(`listener 8883\n${TLS}password_file passwd\n`)).toEqual(["HW060 high mosquitto.conf:5"]);
  });
});

describe("a log that clients can write into", () => {
  const log = (lines: string): string[] => verdict(`listener 8883\n${TLS}${GUARDED}${lines}`);
  test("is one with log_type all, subscribe or unsubscribe", () => {
    expect(log("log_type all\n")).toEqual(["HW012 low mosquitto.conf:8"]);
    expect(log("log_type error\nlog_type subscribe\nlog_type unsubscribe\n")).toEqual([
      "HW012 low mosquitto.conf:9",
      "HW012 low mosquitto.conf:10",
    ]);
  });

  test("is not one with debug lines, nor one whose types were taken back", () => {
    expect(log("log_type error\nlog_type debug\n")).toEqual([]);
    expect(log("log_type all\nlog_type none\nlog_type error\n")).toEqual([]);
  });
});

test("doctor reports nothing about a client that the plugin has disabled, whatever its roles", () => {
  const conf = `listener 8883\n${TLS}plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\nplugin_opt_config_file dynsec.json\nallow_anonymous false\n`;
  const acls = [{ acltype: "publishClientSend", topic: "$CONTROL/#", allow: true }];
  const state = (disabled: boolean): string =>
    JSON.stringify({ clients: [{ username: "pump-9", disabled, roles: [{ rolename: "admin" }] }], roles: [{ rolename: "admin", acls }] });
  expect(verdict(conf, { "dynsec.json": state(false) })).toEqual(["HW031 critical dynsec.json:1"]);
  expect(verdict(conf, { "dynsec.json": state(true) })).toEqual([]);
});

describe("bridges", () => {
  const base = `listener 8883\n${TLS}${GUARDED}connection hub\naddress hub.example.com:8883\n`;
  test.each<[string, string, string[]]>([
    ["without TLS", "topic a/# out\n", ["HW051 high mosquitto.conf:8"]],
    ["with bridge_certfile alone, which is no TLS", "topic a/# out\nbridge_certfile /elsewhere/b.crt\n", ["HW051 high mosquitto.conf:8"]],
    ["that check nobody", "topic a/# out\nbridge_cafile /elsewhere/ca.crt\nbridge_insecure true\n", ["HW052 high mosquitto.conf:12"]],
    ["with everything both ways", "bridge_cafile /elsewhere/ca.crt\ntopic # both 2\n", ["HW068 high mosquitto.conf:11"]],
    ["with everything, below a prefix", 'bridge_cafile /elsewhere/ca.crt\ntopic # both 2 hub/ ""\n', []],
    ["with everything out", "bridge_cafile /elsewhere/ca.crt\ntopic # out 1\n", []],
  ])("%s", (_, lines, expected) => {
    expect(verdict(base + lines)).toEqual(expected);
  });
});

describe("includes", () => {
  test("are read in mosquitto's order, and only *.conf; the last one wins", () => {
    const files = {
      "conf.d/10-hard.conf": "allow_anonymous false\n",
      "conf.d/zz-bench.conf": "allow_anonymous true\n",
      "conf.d/old.conf.disabled": "listener 1883\n",
    };
    expect(verdict(`listener 8883\n${TLS}password_file passwd\nacl_file acl\ninclude_dir conf.d\n`, files)).toEqual([
      "HW021 high conf.d/zz-bench.conf:1",
    ]);
  });

  test("start at the default listener again", () => {
    expect(verdict(`listener 8883\n${TLS}${GUARDED}include_dir conf.d\n`, { "conf.d/a.conf": "max_connections 5\n" })[0]).toBe(
      "HW042 high conf.d/a.conf:1",
    );
  });
});

describe("a Diffie-Hellman group", () => {
  const SMALL = `-----BEGIN X9.42 DH PARAMETERS-----
MIGkAkEA1luhsrkYHJdbunVFGLojJf+7FTwJ0JbgX5XV0JYavTzL0lO+3G3dTaEk
pR0Jeo5ZnkTxmcXR0FUYcunVKB5pXQJAVup/xL2CWrk7r+tIG6Zsrbffqi/MxmvV
M8hxxBTT1iJcJIUnG8KeO0xW29FGUAqIfjP8mCZCBVXKIdDBAuQPIQIdAMdEEZbM
4Gg88ZND8wfOAiIwJTlHQBDxmgHghx8=
-----END X9.42 DH PARAMETERS-----
`;
  test.each([
    ["too small", "dhparamfile dh.pem\n", "2.0.11", ["HW002 high mosquitto.conf:8"]],
    ["let through", "dhparamfile dh.pem\nciphers HIGH@SECLEVEL=0\n", "2.0.11", ["HW044 medium mosquitto.conf:8"]],
    ["without effect since 2.1", "dhparamfile dh.pem\n", "2.1.2", []],
  ])("%s", (_, lines, version, expected) => {
    expect(
      verdict(`listener 8883\n${TLS}${GUARDED}${lines}`, { "dh.pem": SMALL }, version).filter((line) => !line.includes(" low ")),
    ).toEqual(expected);
  });
});
