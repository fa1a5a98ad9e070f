import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { auditConfig } from "../config-audit.js";

/** `HW040 high emqx.conf:1` for each finding of the first file. */
function verdict(files: Readonly<Record<string, string>>): string[] {
  const directory = mkdtempSync(join(tmpdir(), "hawser-doctor-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  const { findings } = auditConfig(join(directory, Object.keys(files)[0] ?? ""), { nowMs: Date.parse("2026-06-01T00:00:00Z") });
  return findings.map(({ id, severity, place }) => `${id} ${severity} ${place?.file ?? ""}:${place?.line ?? ""}`);
}

const EMQX = [
  "listeners.tcp.default.enable = false",
  "listeners.ws.default.enable = false",
  "listeners.wss.default.enable = false",
  "listeners.ssl.default { bind = 8883, ssl_options { verify = verify_peer, fail_if_no_peer_cert = true } }",
  "mqtt.peer_cert_as_username = cn",
  "authentication = [{ mechanism = password_based, backend = built_in_database }]",
  'authorization { no_match = deny, sources = [{ type = file, path = "acl.conf" }] }',
  "",
].join("\n");

test.each<[string, string, string, string[]]>([
  ["names from certificates, and a listener that is switched off", "", '{allow, all, all, ["devices/${username}/#"]}.\n{deny, all}.\n', []],
  [
    "a listener that asks nobody",
    "listeners.tcp.open { bind = 1884, enable_authn = false }\n",
    "",
    ["HW020 critical emqx.conf:8", "HW040 high emqx.conf:8"],
  ],
  ["rules that hang on the client id", "", '%% ours\n{allow, all, all, ["devices/${clientid}/#"]}.\n', ["HW066 high acl.conf:2"]],
  [
    "client ids that are the certificate's name",
    "mqtt.peer_cert_as_clientid = cn\n",
    '{allow, all, all, ["devices/${clientid}/#"]}.\n',
    [],
  ],
  [
    "a rule that gives everybody everything",
    "",
    '{allow, {user, "console"}, all, ["#"]}.\n{allow, all,\n  publish, ["#"]}.\n',
    ["HW061 high acl.conf:2"],
  ],
  [
    "a rule that reaches the topics of all",
    "",
    '{allow, all, publish, ["up/${username}/a"]}.\n{allow, all, subscribe, ["up/#"]}.\n',
    ["HW061 high acl.conf:2"],
  ],
  ["news for everybody", "", '{allow, all, publish, ["up/${username}/a"]}.\n{allow, all, subscribe, ["news/#"]}.\n', []],
  [
    "a listener that believes PROXY headers",
    "listeners.ssl.other { bind = 8884, proxy_protocol = true, ssl_options { verify = verify_peer, fail_if_no_peer_cert = true } }\n",
    "{deny, all}.\n",
    ["HW010 high emqx.conf:8"],
  ],
  [
    "one that only the proxy reaches",
    'listeners.ssl.other { bind = "127.0.0.1:8884", proxy_protocol = true, ssl_options { verify = verify_peer, fail_if_no_peer_cert = true } }\n',
    "{deny, all}.\n",
    [],
  ],
  ["the broker's own topics for everybody", "", '{allow, all, subscribe, ["$SYS/#"]}.\n{deny, all}.\n', ["HW065 medium acl.conf:1"]],
  [
    "the broker's own topics for one",
    "",
    '{allow, {user, "monitor"}, subscribe, ["$SYS/#"]}.\n{allow, all, subscribe, ["$SYS/brokers/+/version"]}.\n{deny, all}.\n',
    [],
  ],
  [
    "a bridge in the clear, one that takes any certificate, and one that is sound",
    'connectors.mqtt.a { server = "hub.example:1883" }\nconnectors.mqtt.b { server = "hub.example:8883", ssl { enable = true, verify = verify_none } }\nconnectors.mqtt.c { server = "hub.example:8883", ssl { enable = true, verify = verify_peer } }\n',
    "{deny, all}.\n",
    ["HW051 high emqx.conf:8", "HW052 high emqx.conf:9"],
  ],
  ["no log", "log.console.enable = false\nlog.file.default.enable = false\n", "{deny, all}.\n", ["HW006 medium emqx.conf:8"]],
  [
    "weak suites",
    'listeners.ssl.default.ssl_options.ciphers = ["RC4-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256"]\n',
    "{deny, all}.\n",
    ["HW044 medium emqx.conf:8"],
  ],
  [
    "the cookie of the examples",
    'node { name = "emqx@10.0.0.1", cookie = "emqxsecretcookie" }\n',
    "{deny, all}.\n",
    ["HW026 high emqx.conf:8"],
  ],
  ["QUIC that asks nobody", "listeners.quic.q { bind = 14567, enable_authn = false }\n", "{deny, all}.\n", ["HW020 critical emqx.conf:8"]],
  [
    "certificates that are optional beside passwords",
    "listeners.ssl.default.ssl_options.fail_if_no_peer_cert = false\n",
    "{deny, all}.\n",
    ["HW054 medium emqx.conf:4"],
  ],
  ["a log on the console alone", "log.console.enable = true\nlog.file.default.enable = false\n", "{deny, all}.\n", []],
])("EMQX: %s", (_, lines, acl, expected) => {
  expect(verdict({ "emqx.conf": EMQX + lines, "acl.conf": acl })).toEqual(expected);
});

test.each([
  ["a rule for everybody", '{"permit": "allow"}', ["HW032 high nanomq_acl.conf:2"]],
  ["a rule for every topic", '{"permit": "allow", "username": "#", "topics": ["#"]}', ["HW061 high nanomq_acl.conf:2"]],
  [
    "a rule that hangs on the client id",
    '{"permit": "allow", "topics": ["up/${clientid}/#"]}\n{"permit": "deny"}',
    ["HW066 high nanomq_acl.conf:2"],
  ],
  [
    "the broker's own topics for everybody",
    '{"permit": "allow", "action": "subscribe", "topics": ["$SYS/#"]}\n{"permit": "deny"}',
    ["HW065 medium nanomq_acl.conf:2"],
  ],
  ["a rule with the name", '{"permit": "allow", "topics": ["up/${username}/#"]}\n{"permit": "deny"}', []],
  ["a rule behind the one that ends all", '{"permit": "deny"}\n{"permit": "allow"}', []],
  ["a rule for one user", '{"permit": "allow", "username": "console", "topics": ["#"]}', []],
])("NanoMQ: %s", (_, rules, expected) => {
  const conf =
    'listeners.wss.bind = "127.0.0.1:8086/mqtt"\nlisteners.ssl { bind = 8883, verify_peer = true, fail_if_no_peer_cert = true }\n';
  const auth = 'auth { allow_anonymous = false, no_match = deny, acl = { include "nanomq_acl.conf" } }\n';
  expect(verdict({ "nanomq.conf": conf + auth, "nanomq_acl.conf": `rules = [\n${rules}\n]\n` })).toEqual(expected);
});

test.each([
  [
    "a REST interface for everybody",
    'http_server { port = 8081, ip_addr = "0.0.0.0", username = ops, password = "aks-221k" }',
    ["HW011 medium nanomq.conf:3"],
  ],
  ["one with a password that everybody tries", "http_server { port = 8081 }", ["HW026 critical nanomq.conf:3"]],
  ["one for this machine", 'http_server { ip_addr = "127.0.0.1", username = ops, password = "aks-221k" }', []],
  ["a bridge in the clear", 'bridges.mqtt.hub { server = "mqtt-tcp://hub.example:1883" }', ["HW051 high nanomq.conf:3"]],
  [
    "a bridge that takes everything",
    'bridges.mqtt.hub { server = "tls+mqtt-tcp://hub.example:8883", subscription = [{ remote_topic = "#", local_topic = "#" }] }',
    ["HW068 high nanomq.conf:3"],
  ],
  [
    "a bridge that takes everything under its own name",
    'bridges.mqtt.hub { server = "tls+mqtt-tcp://hub.example:8883", subscription = [{ remote_topic = "#", local_topic = "" }] }',
    ["HW068 high nanomq.conf:3"],
  ],
  [
    "a further listener in the clear",
    'listeners.tcp.second { bind = "0.0.0.0:1884" }',
    ["HW023 critical nanomq.conf:2", "HW040 high nanomq.conf:3"],
  ],
  [
    "a bridge that takes commands",
    'bridges.mqtt.hub { server = "tls+mqtt-tcp://hub.example:8883", subscription = [{ remote_topic = "commands/#" }] }',
    [],
  ],
])("NanoMQ beside sound rules: %s", (_, line, expected) => {
  const listeners =
    'listeners { wss.bind = "127.0.0.1:8086/mqtt", ssl { bind = 8883, verify_peer = true, fail_if_no_peer_cert = true } }\n';
  const auth = "auth { allow_anonymous = false, no_match = deny }\n";
  expect(verdict({ "nanomq.conf": `${listeners}${auth}${line}\n` })).toEqual(expected);
});

test.each([
  ["PROXY headers for everybody", "mqtt.listeners.ssl.default = 8883\nmqtt.proxy_protocol = true\n", ["HW010 high rabbitmq.conf:4"]],
  ["PROXY headers from this machine", "mqtt.listeners.ssl.default = 127.0.0.1:8883\nmqtt.proxy_protocol = true\n", []],
  ["no log", "log.file = false\n", ["HW006 medium rabbitmq.conf:3"]],
  ["a log file of the level none", "log.file.level = none\n", ["HW006 medium rabbitmq.conf:3"]],
  ["a log on the console", "log.file = false\nlog.console = true\n", []],
  ["a management interface for everybody", "management.tcp.port = 15672\n", ["HW011 medium rabbitmq.conf:3"]],
  ["one for this machine", "management.tcp.port = 15672\nmanagement.tcp.ip = 127.0.0.1\n", []],
  ["a mistyped setting", "mqtt.alow_anonymous = false\n", ["HW001 high rabbitmq.conf:3"]],
  ["an invalid flag", "mqtt.ssl_cert_login = yes\n", ["HW001 high rabbitmq.conf:3"]],
  ["settings of later versions and of plugins", "mqtt.topic_alias_maximum = 4\nmqtt.some_plugin = 1\nssl_options.dh = x\n", []],
  ["a weak suite", "ssl_options.ciphers.1 = ECDHE-RSA-RC4-SHA\n", ["HW044 medium rabbitmq.conf:3"]],
])("RabbitMQ: %s", (_, lines, expected) => {
  expect(verdict({ "rabbitmq.conf": `mqtt.listeners.tcp = none\nmqtt.allow_anonymous = false\n${lines}` })).toEqual(expected);
});

test("RabbitMQ: who needs a certificate to connect at all is not anonymous, as long as the certificate is the name", () => {
  const certificates =
    "mqtt.listeners.tcp = none\nmqtt.listeners.ssl.default = 8883\nloopback_users = none\nmqtt.allow_anonymous = true\ndefault_pass = aks-221k\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n";
  const named = `${certificates}mqtt.ssl_cert_login = true\n`;
  expect(verdict({ "rabbitmq.conf": named })).toEqual([]);
  expect(verdict({ "rabbitmq.conf": certificates })).toEqual(["HW024 high rabbitmq.conf:4"]);
  expect(verdict({ "rabbitmq.conf": `${named}web_mqtt.ssl.port = 15676\n` })).toEqual(["HW020 critical rabbitmq.conf:4"]);
});

test("EMQX: a listener with authenticators of its own asks its clients, and those beside it do not", () => {
  const own = "listeners.ssl.a { bind = 8883, authentication = [{ mechanism = jwt }] }\n";
  const off = "listeners.tcp.default.enable = false\nlisteners.ws.default.enable = false\nlisteners.ssl.default.enable = false\n";
  const rest = `${off}authorization { no_match = deny }\n`;
  expect(verdict({ "emqx.conf": own + rest })).toEqual([]);
  expect(verdict({ "emqx.conf": `${own}listeners.ssl.b { bind = 8884 }\n${rest}` })).toEqual(["HW020 critical emqx.conf:1"]);
});

test("EMQX 4's format is read by its own names and defaults", () => {
  const open = "listener.tcp.external = 0.0.0.0:1883\nlistener.tcp.external.acceptors = 8\nlistener.tcp.internal = 127.0.0.1:11883\n";
  expect(verdict({ "emqx.conf": `${open}listener.ssl.external = 8883\nallow_anonymous = true\nacl_nomatch = allow\n` })).toEqual([
    "HW020 critical emqx.conf:5",
    "HW040 high emqx.conf:1",
    "HW032 high emqx.conf:6",
  ]);
  expect(verdict({ "emqx.conf": "listener.ssl.external = 8883\nallow_anonymous = false\nacl_nomatch = deny\n" })).toEqual([]);
});

test("NanoMQ: the formats of earlier versions say the same", () => {
  const closed = 'listeners.tcp.bind = "127.0.0.1:1883"\nauth.no_match = deny\nauth.password = {}\n';
  expect(verdict({ "nanomq.conf": `${closed}mqtt.session.allow_anonymous = false\n` })).toEqual([]);
  expect(verdict({ "nanomq.conf": `${closed}mqtt.session.allow_anonymous = true\n` })).toEqual(["HW020 critical nanomq.conf:4"]);
  const classic = verdict({ "nanomq.conf": "url=nmq-tcp://0.0.0.0:1883\nallow_anonymous=true\n" });
  expect(classic).toEqual(expect.arrayContaining(["HW020 critical nanomq.conf:2", "HW040 high nanomq.conf:1"]));
});
