/** Compiles a policy into a complete mosquitto configuration, for a broker that no CA directory of this machine looks after. */
import { join } from "node:path";
import type { Bridge, Limits, Listener, Policy } from "../../policy/policy-model.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";
import { MOSQUITTO_FILES, pluginState } from "./mosquitto-config.js";
import { nftablesLimits } from "./mosquitto-limits.js";
import type { LimitedPort } from "./mosquitto-limits.js";
import { mosquittoPolicyAcl } from "./mosquitto-policy-acl.js";
import type { AclOptions } from "./mosquitto-policy-acl.js";
import { mosquittoDropIn, mosquittoUnit } from "./mosquitto-units.js";

/** Debian 12 has 2.0.11, Debian 13 2.0.21. */
export const MOSQUITTO_VERSIONS = ["2.0.11", "2.0.21", "2.1"] as const;
export type MosquittoVersion = (typeof MOSQUITTO_VERSIONS)[number];

export function mosquittoCapabilities(version: MosquittoVersion): Capabilities {
  return {
    kind: "mosquitto",
    title: `mosquitto ${version}`,
    deny: true,
    networks: false,
    times: false,
    perListener: true,
    enforces: [],
    limits: ["packetBytes", "inflight", "queuedMessages", "queuedBytes", "keepAliveSeconds", "connections", "bytesPerSecondPerSource"],
    factors: [["certificate"], ["psk"], ["password"]],
    websocket: true,
    bridges: true,
    because: {
      "certificate+password":
        "with use_identity_as_username it ignores the password, and without it the user name is not the certificate's",
      token: "it knows no tokens without a plugin",
    },
  };
}

/** For a policy that bounds no connections: more than mosquitto ever has. */
const UNLIMITED_CONNECTIONS = 1_000_000;

/** A hash that no password has, for a name that no client can claim: mosquitto does not start with an empty file. */
const NOBODYS_PASSWORD = `-nobody:$7$101$${"A".repeat(16)}$${"A".repeat(86)}==`;

export interface MosquittoCompileOptions extends AclOptions {
  readonly version?: MosquittoVersion;
  /** The user mosquitto becomes when started as root. */
  readonly user?: string;
  /** The dynamic-security plugin's path on the broker's machine; without it, only a restart ends the sessions of a name. */
  readonly plugin?: string;
}

/** @throws PolicyError for what mosquitto cannot say, naming the lines */
export function compileMosquittoPolicy(input: CompileInput, options: MosquittoCompileOptions = {}): Compiled {
  const { version = "2.0.11", user = "mosquitto", plugin } = options;
  const { policy, directory } = input;
  const risks = requireExpressible(policy, mosquittoCapabilities(version));
  const files = new Map<string, string>();
  const control = controlListener(policy, plugin);
  for (const listener of policy.listeners.values()) {
    const acl = mosquittoPolicyAcl(input, listener, { ...options, isControlled: listener === control });
    files.set(`${listener.name}.acl`, acl.text);
    risks.push(...acl.risks);
    if (listener.requires.includes("password")) {
      const hashed = input
        .namesOn(listener)
        .flatMap(({ name, passwordHash }) => (passwordHash === undefined ? [] : [`${name}:${passwordHash}\n`]));
      // Without an entry nobody gets in; without a line mosquitto does not start.
      files.set(`${listener.name}.passwd`, hashed.length === 0 ? `${NOBODYS_PASSWORD}\n` : hashed.join(""));
    }
  }
  if (version === "2.0.11" && policy.limits.connections !== undefined)
    risks.push(
      "mosquitto 2.0.11 counts disconnections twice, so that max_connections soon refuses nobody: use the firewall lines (`hawser policy compile --for firewall`)",
    );
  const { bytesPerSecondPerSource } = policy.limits;
  if (bytesPerSecondPerSource !== undefined) {
    files.set(MOSQUITTO_FILES.limits, nftablesLimits(limitedPorts(policy), bytesPerSecondPerSource));
    risks.push(
      `mosquitto itself bounds no address: bytesPerSecondPerSource holds once ${MOSQUITTO_FILES.limits} is loaded (nft -f ${MOSQUITTO_FILES.limits})`,
    );
  }
  if (control === undefined)
    risks.push(
      `a reload keeps the sessions it has: those of a name that lost its rights end when the broker restarts (${plugin === undefined ? "no dynamic-security plugin; give its path with --plugin" : "no listener asks for a certificate, by which hawser could tell the broker"})`,
    );
  files.set(
    "mosquitto.conf",
    configText(input, {
      user,
      version,
      ...(plugin === undefined || control === undefined ? {} : { control: { listener: control, plugin } }),
    }),
  );
  const unit = { directory, user, ports: [...policy.listeners.values()].map(({ port }) => port), reads: Object.values(input.tls) };
  files.set("mosquitto.service.d/hawser.conf", mosquittoDropIn(unit));
  files.set("hawser-mosquitto.service", mosquittoUnit(unit));
  return {
    files,
    risks,
    directories: ["conf.d", "data"],
    ...(control === undefined ? {} : { initial: new Map([[MOSQUITTO_FILES.plugin, pluginState()]]) }),
  };
}

function limitedPorts({ listeners, limits: { connections = UNLIMITED_CONNECTIONS } }: Policy): LimitedPort[] {
  return [...new Set([...listeners.values()].map(({ port }) => port))].map((port) => ({ name: `port_${port}`, port, held: connections }));
}

/** The plugin is loaded on one listener and serves all: the one on which hawser shows its certificate (`hawser broker end-sessions`). */
function controlListener({ listeners }: Policy, plugin: string | undefined): Listener | undefined {
  return plugin === undefined
    ? undefined
    : [...listeners.values()].find(({ requires, scope, websocket }) => requires.includes("certificate") && scope === "full" && !websocket);
}

interface ConfigFacts {
  readonly user: string;
  readonly version: MosquittoVersion;
  readonly control?: { readonly listener: Listener; readonly plugin: string };
}

function configText(input: CompileInput, { user, version, control }: ConfigFacts): string {
  const { policy, directory } = input;
  const path = (file: string): string => join(directory, file);
  const lines = [
    `# Written by hawser from the policy ${policy.name}; changes made here are lost. Your own lines go into conf.d/.`,
    "",
    "# First: it decides what the settings after it apply to.",
    "per_listener_settings true",
    `user ${user}`,
    `pid_file ${path("mosquitto.pid")}`,
    "set_tcp_nodelay true",
    "persistence true",
    `persistence_location ${path("data")}/`,
    "autosave_on_changes true",
    "autosave_interval 1",
    "",
    ...limitLines(policy.limits, version),
    "",
    "log_dest stderr",
    "log_type error",
    "log_type warning",
    "log_type notice",
    "log_type information",
    "connection_messages true",
    "log_timestamp true",
    "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ...[...policy.listeners.values()].flatMap((listener) => [
      ...listenerLines(input, listener),
      ...(listener === control?.listener ? pluginLines(control.plugin, path(MOSQUITTO_FILES.plugin)) : []),
    ]),
    ...policy.bridges.flatMap(bridgeLines),
    "",
    "# The administrator's own lines; no change loses them. A listener opened there has none of the policy's rules.",
    `include_dir ${path("conf.d")}`,
  ];
  return `${lines.join("\n")}\n`;
}

function limitLines(limits: Limits, version: MosquittoVersion): string[] {
  const settings: [string, number | undefined][] = [
    ["max_packet_size", limits.packetBytes],
    ["max_inflight_messages", limits.inflight],
    ["max_queued_messages", limits.queuedMessages],
    ["max_queued_bytes", limits.queuedBytes],
    ["max_keepalive", limits.keepAliveSeconds],
    ["global_max_connections", version === "2.1" ? limits.connections : undefined],
  ];
  return settings.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]));
}

function listenerLines({ policy, directory, tls }: CompileInput, { name, port, bind, requires, websocket }: Listener): string[] {
  const path = (file: string): string => join(directory, file);
  const connections = policy.limits.connections;
  const common = [
    "",
    `# ${name}`,
    `listener ${port}${bind === undefined ? "" : ` ${bind}`}`,
    ...(websocket ? ["protocol websockets"] : []),
    ...(connections === undefined ? [] : [`max_connections ${connections}`]),
    "allow_anonymous false",
    // Nobody takes over another's session, or empties its queue, by its client id.
    "use_username_as_clientid true",
    "tls_version tlsv1.2",
    `acl_file ${path(`${name}.acl`)}`,
  ];
  if (requires.includes("psk")) {
    return [
      ...common,
      "ciphers ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256",
      "ciphers_tls1.3 TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
      "psk_hint hawser",
      `psk_file ${tls.psk}`,
      "use_identity_as_username true",
    ];
  }
  const server = [
    `certfile ${tls.chain}`,
    `keyfile ${tls.key}`,
    "ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305",
  ];
  if (requires.includes("certificate"))
    return [
      ...common,
      ...server,
      `cafile ${tls.anchors}`,
      `crlfile ${tls.crl}`,
      "require_certificate true",
      "use_identity_as_username true",
    ];
  return [...common, ...server, `password_file ${path(`${name}.passwd`)}`];
}

function pluginLines(plugin: string, statePath: string): string[] {
  return [
    "# Ends the sessions of a name when hawser says so; it gives nobody else any right. Loaded on one listener, it serves all.",
    `plugin ${plugin}`,
    `plugin_opt_config_file ${statePath}`,
  ];
}

/** The internal broker opens the connection, so that nothing has to reach it from outside. */
function bridgeLines({ name, host, port, clientId, certificate, topics }: Bridge): string[] {
  return [
    "",
    `# Bridge ${name}: only these topics cross, each one way.`,
    `connection ${name}`,
    `address ${host}:${port}`,
    `remote_clientid ${clientId}`,
    `bridge_cafile ${certificate.ca}`,
    ...(certificate.chain === undefined || certificate.key === undefined
      ? []
      : [`bridge_certfile ${certificate.chain}`, `bridge_keyfile ${certificate.key}`]),
    "bridge_tls_version tlsv1.2",
    "bridge_insecure false",
    "cleansession false",
    // It would publish its state on the remote broker under $SYS, which most refuse.
    "notifications false",
    "try_private true",
    "restart_timeout 5 60",
    ...topics.map(
      ({ topic, direction, qos, localPrefix, remotePrefix }) =>
        `topic ${topic} ${direction} ${qos} ${quoted(localPrefix)} ${quoted(remotePrefix)}`,
    ),
  ];
}

/** An empty prefix is written as two quotes. */
function quoted(prefix: string): string {
  return prefix === "" ? '""' : prefix;
}
