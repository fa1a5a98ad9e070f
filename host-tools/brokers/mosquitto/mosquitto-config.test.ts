import { describe, expect, it } from "vitest";
import { mosquittoFullAcl, mosquittoPskFile, mosquittoRecoveryAcl } from "./mosquitto-acl.js";
import { checkMosquittoSettings, compileMosquitto, parseMosquittoSettings } from "./mosquitto-config.js";
import type { BrokerFacts } from "./mosquitto-config.js";

const facts: BrokerFacts = {
  full: [],
  clients: new Set(),
  shutOut: [],
  recovery: [],
  keys: [],
  brokerChainPem: "chain",
  brokerKeyPem: "key",
  anchorsPem: "anchors",
  crlPem: "crl",
};

const DEVICE_ENTRY = [
  "user dev1",
  "topic write devices/dev1/up/#",
  "topic read devices/dev1/down/#",
  "topic write devices/dev1/identity/request",
  "topic read devices/dev1/identity/response",
].join("\n");

describe("mosquitto's ACL files", () => {
  const parts = (text: string): string[] => text.trimEnd().split("\n\n").slice(1);
  const nobody = "user -nobody\ntopic deny #";
  const control = "user -control\ntopic readwrite $CONTROL/dynamic-security/#";
  const own = "pattern read devices/%u/down/#\npattern read devices/%u/identity/response";
  const device = { name: "dev1", role: "sensor" };

  it("name everybody with exactly the topics of the policy, and those who are shut out with none", () => {
    const text = mosquittoFullAcl([{ name: "backend", role: "backend" }, device], ["gone"]);
    expect(parts(text)).toEqual([
      nobody,
      control,
      "user backend\ntopic read devices/+/up/#\ntopic write devices/+/down/#",
      DEVICE_ENTRY,
      "user gone\ntopic deny #",
      own,
    ]);
  });

  it("give the identity topics alone in the recovery scope, and a client nothing", () => {
    const text = mosquittoRecoveryAcl([device, { name: "op", role: "operator" }]);
    const identity = "topic write devices/dev1/identity/request\ntopic read devices/dev1/identity/response";
    expect(parts(text)).toEqual([nobody, `user dev1~recovery\n${identity}`, `user dev1\n${identity}`]);
  });

  it("are never without an entry: mosquitto would allow everything", () => {
    expect(parts(mosquittoFullAcl([], []))).toEqual([nobody, control, own]);
    expect(parts(mosquittoRecoveryAcl([]))).toEqual([nobody]);
  });
});

describe("mosquitto's PSK file", () => {
  it("has a line a key, in hex", () => {
    expect(mosquittoPskFile([{ identity: "dev1", key: Uint8Array.of(0, 255) }])).toBe("dev1:00ff\n");
  });
});

describe("mosquitto's configuration", () => {
  const config = (bind?: string): string => {
    const settings = { mtlsPort: 8883, pskPort: 8884, user: "mosquitto", ...(bind === undefined ? {} : { bind }) };
    return compileMosquitto("/etc/broker", settings, facts).get("mosquitto.conf") ?? "";
  };
  /** The settings of one part: before the first listener, or of a listener. */
  const parts = (text: string): string[][] => {
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    const [general = "", ...listeners] = lines.join("\n").split(/^(?=listener )/m);
    return [general, ...listeners].map((part) => part.trim().split("\n"));
  };

  it("opens a third one for backends on request, with the plugin there, its own ACL and its own limits", () => {
    const settings = {
      mtlsPort: 8883,
      pskPort: 8884,
      backendPort: 8885,
      user: "mosquitto",
      bind: "10.0.0.1",
      plugin: "/usr/lib/plugin.so",
    };
    const names = {
      full: [
        { name: "dev1", role: "sensor" },
        { name: "op", role: "operator" },
      ],
      clients: new Set(["op"]),
    };
    const files = compileMosquitto("/etc/broker", settings, { ...facts, ...names });
    const [, mtls = [], backends = [], psk = [], ...more] = parts(files.get("mosquitto.conf") ?? "");
    expect([mtls[0], backends[0], psk[0], more]).toEqual([
      "listener 8883 10.0.0.1",
      "listener 8885 10.0.0.1",
      "listener 8884 10.0.0.1",
      [],
    ]);
    expect(backends).toEqual(
      expect.arrayContaining([
        "use_username_as_clientid true",
        "require_certificate true",
        "acl_file /etc/broker/backends.acl",
        "plugin /usr/lib/plugin.so",
      ]),
    );
    expect(mtls.filter((line) => line.startsWith("plugin"))).toEqual([]);
    expect(files.get("mtls.acl")).not.toMatch(/user (op|-control)$/m);
    expect(files.get("backends.acl")).toMatch(/user -control\n/);
    expect(files.get("backends.acl")).not.toMatch(/dev1|pattern/);
    expect(files.get("limits.nft")).toContain("tcp dport 8885 ct state new ct count over 1000 counter reject");
    expect(parseMosquittoSettings(settings)).toEqual(settings);
    expect(parseMosquittoSettings({ ...settings, backendPort: 0 })).toBeUndefined();
    expect(() => checkMosquittoSettings({ ...settings, backendPort: 8883 })).toThrow(/two listeners use port 8883/);
  });

  it("opens two listeners with TLS and nothing else", () => {
    const [general = [], mtls = [], psk = [], ...more] = parts(config());
    expect(more).toEqual([]);
    expect(general[0]).toBe("per_listener_settings true");
    expect(general).toEqual(
      expect.arrayContaining([
        "set_tcp_nodelay true",
        "persistence true",
        "max_packet_size 131072",
        "pid_file /etc/broker/mosquitto.pid",
        "user mosquitto",
      ]),
    );
    expect(mtls[0]).toBe("listener 8883");
    expect(mtls).toEqual(
      expect.arrayContaining([
        "allow_anonymous false",
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "crlfile /etc/broker/crl.pem",
        "acl_file /etc/broker/mtls.acl",
      ]),
    );
    expect(psk[0]).toBe("listener 8884");
    expect(psk).toEqual(
      expect.arrayContaining([
        "allow_anonymous false",
        "tls_version tlsv1.2",
        "use_identity_as_username true",
        "psk_file /etc/broker/psk.txt",
        "acl_file /etc/broker/psk.acl",
      ]),
    );
    expect(psk.filter((line) => /certfile|cafile/.test(line))).toEqual([]);
    expect(mtls.filter((line) => line.startsWith("psk"))).toEqual([]);
  });

  it("ties client ids to names on both listeners", () => {
    const [, mtls = [], psk = []] = parts(config());
    expect(mtls).toContain("use_username_as_clientid true");
    expect(psk).toContain("use_username_as_clientid true");
  });

  it("logs each packet only where it is told to, for a monitor behind a pipe", () => {
    expect(config()).not.toMatch(/^log_type debug$/m);
    const settings = { mtlsPort: 1, pskPort: 2, user: "u", logPublishes: true };
    expect(compileMosquitto("/b", settings, facts).get("mosquitto.conf")).toMatch(/^log_type debug$/m);
    expect(parseMosquittoSettings(settings)).toEqual(settings);
    expect(parseMosquittoSettings({ ...settings, logPublishes: "yes" })).toBeUndefined();
  });

  it("keeps no retained messages unless it is told to, and loads the plugin that ends sessions", () => {
    expect(config()).toMatch(/^retain_available false$/m);
    const settings = { mtlsPort: 1, pskPort: 2, user: "u", retain: true, plugin: "/usr/lib/plugin.so" };
    const text = compileMosquitto("/etc/broker", settings, facts).get("mosquitto.conf") ?? "";
    expect(text).toMatch(/^retain_available true$/m);
    const [, mtls = [], psk = []] = parts(text);
    expect(mtls).toEqual(
      expect.arrayContaining(["plugin /usr/lib/plugin.so", "plugin_opt_config_file /etc/broker/data/dynamic-security.json"]),
    );
    expect(psk.filter((line) => line.startsWith("plugin"))).toEqual([]);
  });

  it("sets no expiry for sessions, which crashes mosquitto 2.0.11 at a reload", () => {
    expect(config()).not.toMatch(/^persistent_client_expiration/m);
  });

  it("listens where it is told to", () => {
    expect(parts(config("127.0.0.1")).map(([first]) => first)).toEqual([
      "per_listener_settings true",
      "listener 8883 127.0.0.1",
      "listener 8884 127.0.0.1",
    ]);
    expect(parts(config("::1"))[1]?.[0]).toBe("listener 8883 ::1");
  });

  it("takes no settings that would end up as something else", () => {
    const bad = (settings: { mtlsPort: number; pskPort: number; bind?: string }, code: string): void =>
      expect(() => checkMosquittoSettings(settings)).toThrow(expect.objectContaining({ code }));
    bad({ mtlsPort: 0, pskPort: 1 }, "BAD_PORT");
    bad({ mtlsPort: 1, pskPort: 65_536 }, "BAD_PORT");
    bad({ mtlsPort: 8883, pskPort: 8883 }, "BAD_PORT");
    bad({ mtlsPort: 1, pskPort: 2, bind: "x\nallow_anonymous true" }, "BAD_HOST");
    bad({ mtlsPort: 1, pskPort: 2, bind: "" }, "BAD_HOST");
    expect(parseMosquittoSettings({ mtlsPort: 1, pskPort: 2, user: "root\nlistener 1883" })).toBeUndefined();
    expect(parseMosquittoSettings({ mtlsPort: 1, pskPort: 2, user: "root", plugin: "/x\nallow_anonymous true" })).toBeUndefined();
    expect(parseMosquittoSettings({ mtlsPort: 1, pskPort: 2, user: "root", reach: "a b" })).toBeUndefined();
    expect(parseMosquittoSettings({ mtlsPort: 1, pskPort: 2, user: "root", bind: "::" })).toEqual({
      mtlsPort: 1,
      pskPort: 2,
      user: "root",
      bind: "::",
    });
  });
});
