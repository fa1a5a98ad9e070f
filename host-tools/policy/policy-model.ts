/** A policy after it has been read and checked: plain data, every reference resolved, every rule with the line it stands on. */
import type { Level } from "./topic-template.js";

export type Factor = "certificate" | "psk" | "password" | "token";
/** `full`: everything a role gives. `recovery`: a device's recovery channels and nothing else. */
export type ListenerScope = "full" | "recovery";
export type Access = "publish" | "subscribe";
export type Qos = 0 | 1 | 2;

/** Where in the policy file something stands; `line` counts from 1. */
export interface Source {
  readonly line: number;
  /** Short words for it: `roles.viewer.grants[0]`. */
  readonly path: string;
}

export interface AttributeDefinition {
  readonly name: string;
  readonly source: Source;
  readonly values?: readonly string[];
  /** The whole value has to match. */
  readonly pattern?: RegExp;
}

export interface Listener {
  readonly name: string;
  readonly source: Source;
  readonly port: number;
  /** Address to listen on; all interfaces when left out. */
  readonly bind?: string;
  readonly requires: readonly Factor[];
  readonly scope: ListenerScope;
  readonly websocket: boolean;
}

export interface Channel {
  readonly name: string;
  readonly className: string;
  readonly source: Source;
  readonly description?: string;
  /** As written: relative to the base, or absolute. */
  readonly topic: string;
  /** Base and topic together; an absolute topic alone. */
  readonly template: readonly Level[];
  /** `up`: the device publishes. `down`: the device subscribes. */
  readonly direction: "up" | "down";
  /** Also on listeners of the recovery scope. */
  readonly recovery: boolean;
  /** Highest QoS of a publish. */
  readonly qos?: Qos;
  /** False: nobody may publish retained here. */
  readonly retain?: boolean;
  readonly maxBytes?: number;
  readonly messagesPerSecond?: number;
  /** File of the payload's JSON Schema, for the catalogue. */
  readonly schema?: string;
}

export interface DeviceClass {
  readonly name: string;
  readonly source: Source;
  readonly description?: string;
  readonly base: string;
  readonly baseLevels: readonly Level[];
  /** Attributes in the base, without `id`. */
  readonly placeholders: readonly string[];
  readonly hasId: boolean;
  readonly channels: ReadonlyMap<string, Channel>;
}

/** A window of wall time; all parts that are given must hold. */
export interface TimeWindow {
  readonly days?: ReadonlySet<string>;
  /** Minutes since midnight in `zone`; a window with `from` after `to` runs past midnight. */
  readonly fromMinute?: number;
  readonly toMinute?: number;
  readonly zone: string;
  readonly afterMs?: number;
  readonly beforeMs?: number;
}

export interface Network {
  readonly text: string;
  readonly version: 4 | 6;
  readonly bits: bigint;
  readonly prefix: number;
}

/** All parts that are given must hold; within a part, one of its values. */
export interface Condition {
  readonly listeners?: readonly string[];
  readonly networks?: readonly Network[];
  readonly times?: readonly TimeWindow[];
  readonly attributes?: ReadonlyMap<string, readonly string[]>;
}

/** One right, for one access and one topic template. */
export interface Rule {
  readonly effect: "allow" | "deny";
  readonly access: Access;
  readonly template: readonly Level[];
  /** The role that brings it. */
  readonly role: string;
  readonly source: Source;
  readonly channel?: Channel;
  /** True for a device's own channel, whose placeholders are its own attributes. */
  readonly own: boolean;
  /** The attributes that the owner of the topic must have: literal values, or `{name}` for the asking client's own. Tenants included. */
  readonly scope: ReadonlyMap<string, readonly string[]>;
  /**
   * The owner of the topic has to be looked up: its base does not show all that the scope asks for, or another class shares these topics.
   */
  readonly needsOwner: boolean;
  readonly acrossTenants: boolean;
  /** On listeners of the recovery scope too. */
  readonly recovery: boolean;
  readonly when?: Condition;
}

export interface RoleRights {
  readonly retain: boolean;
  readonly will: boolean;
  readonly wildcards: boolean;
  readonly shared: boolean;
}

export interface RoleLimits {
  readonly messagesPerSecond?: number;
  readonly bytesPerSecond?: number;
  readonly connections?: number;
}

export interface Role {
  readonly name: string;
  readonly source: Source;
  readonly description?: string;
  readonly for: "devices" | "clients";
  readonly className?: string;
  /** Own rights and those of the roles it inherits from. */
  readonly rules: readonly Rule[];
  readonly inherits: readonly string[];
  /** Factors beyond what the listener asks for, by listener. */
  readonly requires: ReadonlyMap<string, readonly Factor[]>;
  readonly may: RoleRights;
  readonly limits: RoleLimits;
}

/** Numbers for the whole broker; each is left to the broker's default when missing. */
export interface Limits {
  readonly connections?: number;
  readonly connectionsPerSource?: number;
  readonly connectionsPerSecond?: number;
  readonly connectionsPerSecondPerSource?: number;
  readonly packetBytes?: number;
  readonly inflight?: number;
  readonly queuedMessages?: number;
  readonly queuedBytes?: number;
  readonly keepAliveSeconds?: number;
  readonly sessionExpirySeconds?: number;
  readonly messagesPerSecond?: number;
  readonly bytesPerSecond?: number;
  readonly bytesPerSecondPerSource?: number;
}

export interface BridgeTopic {
  readonly topic: string;
  readonly direction: "out" | "in";
  readonly qos: Qos;
  readonly localPrefix: string;
  readonly remotePrefix: string;
  readonly source: Source;
}

export interface Bridge {
  readonly name: string;
  readonly source: Source;
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  readonly certificate: { readonly ca: string; readonly chain?: string; readonly key?: string };
  readonly topics: readonly BridgeTopic[];
}

export interface Policy {
  readonly name: string;
  readonly description?: string;
  readonly attributes: ReadonlyMap<string, AttributeDefinition>;
  readonly tenant?: string;
  readonly listeners: ReadonlyMap<string, Listener>;
  readonly classes: ReadonlyMap<string, DeviceClass>;
  readonly roles: ReadonlyMap<string, Role>;
  /** For devices whose role the policy does not name. */
  readonly defaultDeviceRole?: string;
  readonly limits: Limits;
  /** Where a limit stands. */
  readonly limitSources: ReadonlyMap<string, Source>;
  readonly bridges: readonly Bridge[];
  /** What a broker may leave unenforced, by broker: the policy's own consent. */
  readonly unenforced: ReadonlyMap<string, ReadonlySet<string>>;
}

/** A name that may connect, as the registry knows it. */
export interface Principal {
  readonly name: string;
  readonly kind: "device" | "client";
  readonly role: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** With all its rights on listeners of the full scope. */
  readonly active: boolean;
  /** On listeners of the recovery scope. */
  readonly recoverable: boolean;
  /** `$7$iterations$salt$hash` as mosquitto writes it: PBKDF2-SHA512. */
  readonly passwordHash?: string;
  /** Of the passwords that belong to its valid certificates: each counts, beside a certificate alone. */
  readonly certificatePasswordHashes?: readonly string[];
  /**
   * The public keys of its valid certificates (SPKI, PEM), for tokens: two of them while a new one is being proved. Worked out when asked
   * for: to read the certificates of a large fleet takes a minute.
   */
  readonly publicKeyPems?: () => readonly string[];
}

/** All names there are. */
export interface NameDirectory {
  get(name: string): Principal | undefined;
  all(): Iterable<Principal>;
  readonly size: number;
}

/** A directory of a list. */
export function directoryOf(principals: Iterable<Principal>): NameDirectory {
  const byName = new Map([...principals].map((principal) => [principal.name, principal]));
  return { get: (name) => byName.get(name), all: () => byName.values(), size: byName.size };
}
