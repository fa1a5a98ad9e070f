/**
 * Compiles mosquitto's configuration: two listeners, certificates on one and pre-shared keys on the other, everything bounded, nothing in
 * the clear.
 */
import { createHash, createHmac } from "node:crypto";
import { isAbsolute, join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { nftablesLimits } from "./mosquitto-limits.js";
import {
  CONTROL_NAME,
  CONTROL_TOPICS,
  mosquittoBackendAcl,
  mosquittoFullAcl,
  mosquittoPskFile,
  mosquittoRecoveryAcl,
} from "./mosquitto-acl.js";
import type { NamedKey, NamedRole } from "./mosquitto-acl.js";

export interface MosquittoSettings {
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** A listener for backends, operators and the authority, who then have no rights on the mTLS port, as devices have none on this one. */
  readonly backendPort?: number;
  /** Address to listen on; all interfaces when left out. */
  readonly bind?: string;
  /** The user mosquitto becomes when it is started as root. */
  readonly user: string;
  /**
   * Host under which this machine reaches the broker; where it listens when left out. For a broker in a container or on another machine.
   */
  readonly reach?: string;
  /** mosquitto's dynamic-security plugin (an absolute path): with it all sessions of a name can be ended. */
  readonly plugin?: string;
  /** How often a restart of the broker was asked for: what it was started with shows in its PSK hint, which a reload does not change. */
  readonly restarts?: number;
  /** Let clients leave retained messages. They are not bounded: one device can fill the broker's disk with them. */
  readonly retain?: boolean;
  /** Log each publish, and those that are denied. mosquitto logs no denials without the other packets. */
  readonly logPublishes?: boolean;
}

/** What the broker is to know, whatever its kind. */
export interface BrokerFacts {
  /** Names with all their rights, on the mTLS port. */
  readonly full: readonly NamedRole[];
  /** Those of them that are no devices. */
  readonly clients: ReadonlySet<string>;
  /** Names without any right. One that is in none of the lists, as a device in recovery, may read what is meant for it on the mTLS port. */
  readonly shutOut: readonly string[];
  /** Names with the recovery scope, on the PSK port, and their keys. */
  readonly recovery: readonly NamedRole[];
  readonly keys: readonly NamedKey[];
  readonly brokerChainPem: string;
  readonly brokerKeyPem: string;
  /** Root and issuing CA. */
  readonly anchorsPem: string;
  readonly crlPem: string;
  /** Writes the ACL files where the CA has a policy of its own; without one the built-in rights count. */
  readonly policy?: BrokerPolicy;
}

export interface BrokerPolicy {
  /** For the firewall rules beside the configuration. */
  readonly bytesPerSecondPerSource?: number;
  /**
   * @param clientsApart the clients, where they have a listener of their own
   * @throws PolicyError for what mosquitto cannot say
   */
  acls(facts: Pick<BrokerFacts, "full" | "shutOut" | "recovery">, clientsApart?: ReadonlySet<string>): BrokerAcls;
}

export interface BrokerAcls {
  readonly mtls: string;
  readonly psk: string;
  /** For the listener of backends, if there is one. */
  readonly backends?: string;
}

/** What is worked out of one state of the facts, which do not change: each is asked for several times in a change. */
interface Derived {
  acls?: BrokerAcls;
  aclsApart?: BrokerAcls;
  marker?: NamedKey;
}

const derived = new WeakMap<BrokerFacts, Derived>();

function derivedOf(facts: BrokerFacts): Derived {
  const known = derived.get(facts) ?? {};
  derived.set(facts, known);
  return known;
}

function aclsOf(facts: BrokerFacts, areClientsApart: boolean): BrokerAcls {
  const known = derivedOf(facts);
  return areClientsApart ? (known.aclsApart ??= aclsFor(facts, true)) : (known.acls ??= aclsFor(facts, false));
}

function aclsFor(facts: BrokerFacts, areClientsApart: boolean): BrokerAcls {
  if (areClientsApart) return facts.policy?.acls(facts, facts.clients) ?? aclsApart(facts);
  return facts.policy?.acls(facts) ?? { mtls: mosquittoFullAcl(facts.full, facts.shutOut), psk: mosquittoRecoveryAcl(facts.recovery) };
}

function aclsApart({ full, shutOut, recovery, clients }: BrokerFacts): BrokerAcls {
  const [devices, others] = [full.filter(({ name }) => !clients.has(name)), full.filter(({ name }) => clients.has(name))];
  return { mtls: mosquittoFullAcl(devices, shutOut, false), psk: mosquittoRecoveryAcl(recovery), backends: mosquittoBackendAcl(others) };
}

export const MOSQUITTO_FILES = {
  config: "mosquitto.conf",
  mtlsAcl: "mtls.acl",
  pskAcl: "psk.acl",
  /** With a listener for backends. */
  backendAcl: "backends.acl",
  psk: "psk.txt",
  anchors: "ca.crt.pem",
  chain: "broker.crt.pem",
  key: "broker.key.pem",
  crl: "crl.pem",
  /** For nft: the connection limits that mosquitto does not keep. */
  limits: "limits.nft",
  /** Written by mosquitto. */
  pid: "mosquitto.pid",
  /** Directory of mosquitto's database. */
  data: "data",
  /** What the dynamic-security plugin knows; written once, then mosquitto's own. */
  plugin: "data/dynamic-security.json",
} as const;

/**
 * The plugin's first state: one role, for {@link CONTROL_NAME}. Everything else stays allowed here, because the ACL files decide it:
 * mosquitto asks them first, and what they deny is denied.
 */
export function pluginState(): string {
  const acls = ["publishClientSend", "publishClientReceive", "subscribePattern"].map((acltype) => ({
    acltype,
    topic: CONTROL_TOPICS,
    priority: 0,
    allow: true,
  }));
  const state = {
    defaultACLAccess: { publishClientSend: true, publishClientReceive: true, subscribe: true, unsubscribe: true },
    clients: [{ username: CONTROL_NAME, roles: [{ rolename: "control", priority: 0 }] }],
    groups: [],
    roles: [{ rolename: "control", acls }],
  };
  return `${JSON.stringify(state, null, 2)}\n`;
}

/** Where the listeners are: ports, or UNIX sockets for a trial that must not need a port. */
interface Listeners {
  readonly mtls: string;
  readonly psk: string;
  readonly backends: string;
}

/** The files of a configuration by name, for `directory` (absolute). */
export function compileMosquitto(directory: string, settings: MosquittoSettings, facts: BrokerFacts): Map<string, string> {
  const at = (port = 0): string => (settings.bind === undefined ? String(port) : `${port} ${settings.bind}`);
  const { mtlsPort, pskPort, backendPort } = settings;
  return compile(directory, settings, facts, { mtls: at(mtlsPort), psk: at(pskPort), backends: at(backendPort) });
}

/**
 * The same configuration for a trial run in another directory: it loads the same files and listens on UNIX sockets in its working
 * directory.
 */
export function compileMosquittoTrial(directory: string, settings: MosquittoSettings, facts: BrokerFacts): Map<string, string> {
  return compile(directory, settings, facts, { mtls: "0 m.sock", psk: "0 p.sock", backends: "0 b.sock" });
}

/**
 * A pre-shared key that says which state of the facts a broker has loaded: whoever can make a TLS connection with it knows that mosquitto
 * has read these files. It is read last (after certificates, CRL and ACL), and not at all when an ACL file is bad. It gives no rights: no
 * ACL names it.
 */
export function loadedMarker(facts: BrokerFacts): NamedKey {
  return (derivedOf(facts).marker ??= markerOf(facts));
}

function markerOf(facts: BrokerFacts): NamedKey {
  const { full: _full, clients: _clients, shutOut: _shutOut, recovery: _recovery, policy: _policy, keys, ...texts } = facts;
  // However they are spread over listeners, these are the rights.
  const acls = aclsOf(facts, false);
  const state = [acls.mtls, acls.psk, mosquittoPskFile(keys), JSON.stringify(texts)].join("\n\n");
  // No device can have this name: it begins with a hyphen.
  const identity = `-loaded-${createHash("sha256").update(state).digest("hex").slice(0, 32)}`;
  return { identity, key: createHmac("sha256", facts.brokerKeyPem).update(state).digest() };
}

function compile(directory: string, settings: MosquittoSettings, facts: BrokerFacts, listeners: Listeners): Map<string, string> {
  const { mtlsPort, pskPort, backendPort } = settings;
  const acls = aclsOf(facts, backendPort !== undefined);
  const limits = [
    { name: "mtls", port: mtlsPort, held: MTLS_CONNECTIONS },
    { name: "psk", port: pskPort, held: PSK_CONNECTIONS },
    ...(backendPort === undefined ? [] : [{ name: "backends", port: backendPort, held: BACKEND_CONNECTIONS }]),
  ];
  return new Map([
    ...(acls.backends === undefined ? [] : ([[MOSQUITTO_FILES.backendAcl, acls.backends]] as const)),
    [MOSQUITTO_FILES.mtlsAcl, acls.mtls],
    [MOSQUITTO_FILES.pskAcl, acls.psk],
    [MOSQUITTO_FILES.psk, mosquittoPskFile([...facts.keys, loadedMarker(facts)])],
    [MOSQUITTO_FILES.anchors, facts.anchorsPem],
    [MOSQUITTO_FILES.chain, facts.brokerChainPem],
    [MOSQUITTO_FILES.key, facts.brokerKeyPem],
    [MOSQUITTO_FILES.crl, facts.crlPem],
    [MOSQUITTO_FILES.config, configText(directory, settings, listeners)],
    [MOSQUITTO_FILES.limits, nftablesLimits(limits, facts.policy?.bytesPerSecondPerSource)],
  ]);
}

/** For the broker's whole: its sessions at work. */
const MTLS_CONNECTIONS = 20_000;
const PSK_CONNECTIONS = 2_000;
const BACKEND_CONNECTIONS = 1_000;

/** Shown to whoever begins a PSK handshake: no secret. */
export function pskHint({ restarts = 0 }: MosquittoSettings): string {
  return restarts === 0 ? "hawser" : `hawser-${restarts}`;
}

const MTLS_COMMENT = `# Certificates. The client id is the certificate's name, whatever a client calls itself: nobody can take over another's session or empty its queue. So each
# tool of a backend needs a name of its own (hawser issue).
# max_connections does not hold in mosquitto 2.0.11: load ${MOSQUITTO_FILES.limits} with nft.`;

const BACKEND_COMMENT = `# Certificates of backends, operators and the authority, who have no rights on the listener above, as devices have none here. mosquitto cannot refuse a
# device's certificate here, so client ids are names here too: else a device could take another's.`;

const PUBLISH_LOG = `# Publishes and who was denied one, among all packets: read them through a pipe,
# mosquitto -c mosquitto.conf 2>&1 | hawser monitor --log -
log_type debug
`;

function pluginText({ plugin }: MosquittoSettings, statePath: string): string {
  if (plugin === undefined) return "";
  return `# Ends the sessions of a name when hawser says so; it gives nobody else any right. Loaded on one listener, it serves both.
plugin ${plugin}
plugin_opt_config_file ${statePath}
`;
}

function configText(directory: string, settings: MosquittoSettings, listeners: Listeners): string {
  const path = (file: string): string => join(directory, file);
  const certificateListener = (
    address: string,
    { comment, held, acl }: { comment: string; held: number; acl: string },
  ): string => `${comment}
listener ${address}
use_username_as_clientid true
max_connections ${held}
allow_anonymous false
allow_zero_length_clientid true
tls_version tlsv1.2
ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305
cafile ${path(MOSQUITTO_FILES.anchors)}
certfile ${path(MOSQUITTO_FILES.chain)}
keyfile ${path(MOSQUITTO_FILES.key)}
crlfile ${path(MOSQUITTO_FILES.crl)}
require_certificate true
use_identity_as_username true
acl_file ${path(acl)}`;
  const plugin = pluginText(settings, path(MOSQUITTO_FILES.plugin));
  const backends = certificateListener(listeners.backends, {
    comment: BACKEND_COMMENT,
    held: BACKEND_CONNECTIONS,
    acl: MOSQUITTO_FILES.backendAcl,
  });
  return `# Written by hawser; changes made here are lost with the next change of the CA. Start with: mosquitto -c ${path(MOSQUITTO_FILES.config)}

# First: it decides what the settings after it apply to.
per_listener_settings true

# When started as root, mosquitto becomes this user, who must be able to read these files and to write data/.
user ${settings.user}
pid_file ${path(MOSQUITTO_FILES.pid)}
set_tcp_nodelay true

# Sessions and queued QoS 1 and 2 messages are saved as soon as one of them changed: mosquitto saves once a turn of its loop, after it has answered
# what arrived in that turn. What was acknowledged in the very turn in which a kill -9 or a power cut came may be lost; what was acknowledged before is
# safe. Messages already on their way to a connected subscriber are saved with the next change.
# The cost: each save writes everything that is kept. The bounds below keep that small (a device can put nothing there but what waits for a backend that
# is away: max_queued_bytes of it at most).
persistence true
persistence_location ${path(MOSQUITTO_FILES.data)}/
autosave_on_changes true
autosave_interval 1
# No persistent_client_expiration: each SIGHUP enters every offline session that is to expire into mosquitto's expiry list once more, and the broker crashes
# after such a client returned (measured with 2.0.11; 2.0.22 has the same code). Sessions that never expire are not in that list: MQTT 3.1.1, and MQTT 5
# with the session expiry 4294967295, as Hawser's devices ask for. Let no client of this broker ask for another expiry than that or 0.

# Retained messages are not bounded by anything in mosquitto, and each one makes it write all it keeps. (Values below $SYS are published on change.)
retain_available ${settings.retain === true}
# Bounds: bytes a packet, messages and bytes kept for one client, messages on their way to one client, seconds between two signs of life.
max_packet_size 131072
max_queued_messages 5000
max_queued_bytes 4194304
max_inflight_messages 20
max_keepalive 1200

log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
${settings.logPublishes === true ? PUBLISH_LOG : ""}connection_messages true
log_timestamp true
log_timestamp_format %Y-%m-%dT%H:%M:%S

${certificateListener(listeners.mtls, { comment: MTLS_COMMENT, held: MTLS_CONNECTIONS, acl: MOSQUITTO_FILES.mtlsAcl })}
${settings.backendPort === undefined ? plugin : `\n${backends}\n${plugin}`}
# Pre-shared keys, for recovery alone: the ACL gives a device its identity topics and nothing else. The client id is the PSK identity, which differs from the
# device's name: what waits for the device on the other listener stays there.
listener ${listeners.psk}
use_username_as_clientid true
max_connections ${PSK_CONNECTIONS}
allow_anonymous false
allow_zero_length_clientid true
tls_version tlsv1.2
ciphers ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256
ciphers_tls1.3 TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256
psk_hint ${pskHint(settings)}
psk_file ${path(MOSQUITTO_FILES.psk)}
use_identity_as_username true
acl_file ${path(MOSQUITTO_FILES.pskAcl)}
`;
}

/**
 * Returns the settings when mosquitto can be configured with them.
 * @throws HawserError `BAD_PORT`, `BAD_HOST`
 */
export function checkMosquittoSettings(settings: Omit<MosquittoSettings, "user">): void {
  const { mtlsPort, pskPort, backendPort, bind, reach, plugin } = settings;
  const ports = [mtlsPort, pskPort, ...(backendPort === undefined ? [] : [backendPort])];
  for (const port of ports) {
    if (!isPort(port)) throw new HawserError("BAD_PORT", `invalid port ${port}`, "Use a port from 1 to 65535.");
  }
  const twice = ports.find((port, index) => ports.indexOf(port) !== index);
  if (twice !== undefined)
    throw new HawserError("BAD_PORT", `two listeners use port ${twice}`, "Use separate ports for certificates and pre-shared keys.");
  if (bind !== undefined && !isAddress(bind))
    throw new HawserError("BAD_HOST", `invalid listen address ${JSON.stringify(bind)}`, "Give a host name or an IP address.");
  if (reach !== undefined && !isAddress(reach))
    throw new HawserError("BAD_HOST", `invalid address ${JSON.stringify(reach)} for the broker`, "Give a host name or an IP address.");
  if (plugin !== undefined && !isPluginPath(plugin))
    throw new HawserError(
      "BAD_CONFIG",
      `invalid plugin path ${JSON.stringify(plugin)}`,
      "Give the absolute path of mosquitto_dynamic_security.so.",
    );
}

/** @returns undefined when the value is no settings */
export function parseMosquittoSettings(value: unknown): MosquittoSettings | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { mtlsPort, pskPort, backendPort, user, bind, reach, plugin, retain, logPublishes, restarts } = value as Record<string, unknown>;
  if (!isPort(mtlsPort) || !isPort(pskPort) || typeof user !== "string" || !/^[A-Za-z_][A-Za-z0-9_-]*$/.test(user)) return undefined;
  if (
    !isAbsent(bind, isAddress) ||
    !isAbsent(reach, isAddress) ||
    !isAbsent(plugin, isPluginPath) ||
    (retain !== undefined && retain !== true) ||
    (logPublishes !== undefined && logPublishes !== true)
  )
    return undefined;
  if (!isAbsent(backendPort, isPort)) return undefined;
  if (restarts !== undefined && !Number.isSafeInteger(restarts)) return undefined;
  return {
    mtlsPort,
    pskPort,
    user,
    ...(backendPort === undefined ? {} : { backendPort }),
    ...(restarts === undefined ? {} : { restarts: restarts as number }),
    ...(bind === undefined ? {} : { bind }),
    ...(reach === undefined ? {} : { reach }),
    ...(plugin === undefined ? {} : { plugin }),
    ...(retain === undefined ? {} : { retain }),
    ...(logPublishes === undefined ? {} : { logPublishes }),
  };
}

function isAbsent<T>(value: unknown, check: (value: unknown) => value is T): value is T | undefined {
  return value === undefined || check(value);
}

/** It stands in the configuration, where a line feed would begin another setting. */
function isPluginPath(value: unknown): value is string {
  return typeof value === "string" && isAbsolute(value) && !/[\p{Cc}]/u.test(value);
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9.:-]*$|^::[A-Za-z0-9.:]*$/.test(value);
}
