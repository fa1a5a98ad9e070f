/** Compiles mosquitto's configuration: two listeners, certificates on one and pre-shared keys on the other, everything bounded, nothing in the clear. */
import { createHash, createHmac } from "node:crypto";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { mosquittoFullAcl, mosquittoPskFile, mosquittoRecoveryAcl } from "./mosquitto-acl.js";
import type { NamedKey, NamedRole } from "./mosquitto-acl.js";

export interface MosquittoSettings {
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** Address to listen on; all interfaces when left out. */
  readonly bind?: string;
  /** The user mosquitto becomes when it is started as root. */
  readonly user: string;
}

/** What the broker is to know, whatever its kind. */
export interface BrokerFacts {
  /** Names with all their rights, on the mTLS port. */
  readonly full: readonly NamedRole[];
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
}

export const MOSQUITTO_FILES = {
  config: "mosquitto.conf",
  mtlsAcl: "mtls.acl",
  pskAcl: "psk.acl",
  psk: "psk.txt",
  anchors: "ca.crt.pem",
  chain: "broker.crt.pem",
  key: "broker.key.pem",
  crl: "crl.pem",
  /** Written by mosquitto. */
  pid: "mosquitto.pid",
  /** Directory of mosquitto's database. */
  data: "data",
} as const;

/** Where the listeners are: ports, or UNIX sockets for a trial that must not need a port. */
interface Listeners {
  readonly mtls: string;
  readonly psk: string;
}

/** The files of a configuration by name, for `directory` (absolute). */
export function compileMosquitto(directory: string, settings: MosquittoSettings, facts: BrokerFacts): Map<string, string> {
  const address = settings.bind === undefined ? "" : ` ${settings.bind}`;
  return compile(directory, settings, facts, { mtls: `${settings.mtlsPort}${address}`, psk: `${settings.pskPort}${address}` });
}

/** The same configuration for a trial run in another directory: it loads the same files and listens on two UNIX sockets in its working directory. */
export function compileMosquittoTrial(directory: string, settings: MosquittoSettings, facts: BrokerFacts): Map<string, string> {
  return compile(directory, settings, facts, { mtls: "0 m.sock", psk: "0 p.sock" });
}

/**
 * A pre-shared key that says which state of the facts a broker has loaded: whoever can make a TLS connection with it knows that mosquitto has read these
 * files. It is read last (after certificates, CRL and ACL), and not at all when an ACL file is bad. It gives no rights: no ACL names it.
 */
export function loadedMarker(facts: BrokerFacts): NamedKey {
  const { full, shutOut, recovery, keys, ...texts } = facts;
  const state = [mosquittoFullAcl(full, shutOut), mosquittoRecoveryAcl(recovery), mosquittoPskFile(keys), JSON.stringify(texts)].join("\n\n");
  // No device can have this name: it begins with a hyphen.
  const identity = `-loaded-${createHash("sha256").update(state).digest("hex").slice(0, 32)}`;
  return { identity, key: createHmac("sha256", facts.brokerKeyPem).update(state).digest() };
}

function compile(directory: string, settings: MosquittoSettings, facts: BrokerFacts, listeners: Listeners): Map<string, string> {
  return new Map([
    [MOSQUITTO_FILES.mtlsAcl, mosquittoFullAcl(facts.full, facts.shutOut)],
    [MOSQUITTO_FILES.pskAcl, mosquittoRecoveryAcl(facts.recovery)],
    [MOSQUITTO_FILES.psk, mosquittoPskFile([...facts.keys, loadedMarker(facts)])],
    [MOSQUITTO_FILES.anchors, facts.anchorsPem],
    [MOSQUITTO_FILES.chain, facts.brokerChainPem],
    [MOSQUITTO_FILES.key, facts.brokerKeyPem],
    [MOSQUITTO_FILES.crl, facts.crlPem],
    [MOSQUITTO_FILES.config, configText(directory, settings, listeners)],
  ]);
}

function configText(directory: string, settings: MosquittoSettings, listeners: Listeners): string {
  const path = (file: string): string => join(directory, file);
  return `# Written by hawser; changes made here are lost with the next change of the CA. Start with: mosquitto -c ${path(MOSQUITTO_FILES.config)}

# First: it decides what the settings after it apply to.
per_listener_settings true

# When started as root, mosquitto becomes this user, who must be able to read these files and to write data/.
user ${settings.user}
pid_file ${path(MOSQUITTO_FILES.pid)}
set_tcp_nodelay true

# Sessions, queued QoS 1 and 2 messages and retained messages are saved as soon as one of them changed: mosquitto saves once a turn of its loop,
# after it has answered what arrived in that turn. What was acknowledged in the very turn in which a kill -9 or a power cut came may be lost; what was
# acknowledged before is safe. Messages already on their way to a connected subscriber are saved with the next change.
persistence true
persistence_location ${path(MOSQUITTO_FILES.data)}/
autosave_on_changes true
autosave_interval 1
# No persistent_client_expiration: each SIGHUP enters every offline session that is to expire into mosquitto's expiry list once more, and the broker crashes
# after such a client returned (measured with 2.0.11; 2.0.22 has the same code). Sessions that never expire are not in that list: MQTT 3.1.1, and MQTT 5
# with the session expiry 4294967295, as Hawser's devices ask for. Let no client of this broker ask for another expiry than that or 0.

# Bounds: bytes a packet, messages and bytes kept for one client, messages on their way to one client, seconds between two signs of life.
max_packet_size 131072
max_queued_messages 10000
max_queued_bytes 33554432
max_inflight_messages 20
max_keepalive 1200

log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
log_timestamp true
log_timestamp_format %Y-%m-%dT%H:%M:%S

# Certificates. (No use_username_as_clientid: with it the tools of one backend could not share its certificate. So a client of this CA can disconnect
# another by taking its client id; what it may read and write is still its own name's.)
listener ${listeners.mtls}
max_connections 20000
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
acl_file ${path(MOSQUITTO_FILES.mtlsAcl)}

# Pre-shared keys, for recovery alone: the ACL gives a device its identity topics and nothing else.
listener ${listeners.psk}
max_connections 2000
allow_anonymous false
allow_zero_length_clientid true
tls_version tlsv1.2
ciphers ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256
ciphers_tls1.3 TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256
psk_hint hawser
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
  const { mtlsPort, pskPort, bind } = settings;
  for (const port of [mtlsPort, pskPort]) {
    if (!isPort(port)) throw new HawserError("BAD_PORT", `${port} is no port`, "Choose a port from 1 to 65535.");
  }
  if (mtlsPort === pskPort) throw new HawserError("BAD_PORT", `both listeners have the port ${mtlsPort}`, "Certificates and pre-shared keys need a port each.");
  if (bind !== undefined && !isAddress(bind)) throw new HawserError("BAD_HOST", `${JSON.stringify(bind)} is no address to listen on`, "Give a host name or an IP address.");
}

/** @returns undefined when the value is no settings */
export function parseMosquittoSettings(value: unknown): MosquittoSettings | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { mtlsPort, pskPort, bind, user } = value as Record<string, unknown>;
  if (!isPort(mtlsPort) || !isPort(pskPort) || typeof user !== "string" || !/^[A-Za-z_][A-Za-z0-9_-]*$/.test(user)) return undefined;
  if (bind === undefined) return { mtlsPort, pskPort, user };
  return isAddress(bind) ? { mtlsPort, pskPort, bind, user } : undefined;
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9.:-]*$|^::[A-Za-z0-9.:]*$/.test(value);
}
