/** What a fleet does, and what its processes tell each other: plain data that can cross a process boundary. */
import type { ErrorCode } from "../../sdk/error-codes.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import type { Endpoint } from "../../sdk/platform.js";
import type { ProgramAccount, ProgramPlan, ProgramReport } from "../program/program-plan.js";

/** How a payload's field is drawn. */
export type FieldSpec =
  | { readonly number: readonly [lowest: number, highest: number]; readonly decimals?: number }
  | { readonly integer: readonly [lowest: number, highest: number] }
  | { readonly oneOf: readonly (string | number | boolean)[] }
  | { readonly text: number };

/** One stream of messages that every device sends. */
export interface PublishProfile {
  /** Below `up/` of the device. */
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly everyMs: number;
  /** 0..1: how much of the interval is drawn at random, so that devices do not march in step. */
  readonly jitter: number;
  /** Payloads are padded to a size drawn from here; the least is what the fields take. */
  readonly sizeBytes: readonly [lowest: number, highest: number];
  readonly fields?: Readonly<Record<string, FieldSpec>>;
}

export interface FleetPlan {
  /** Equal seeds draw equal payloads, intervals and sleepers. */
  readonly seed: string;
  readonly broker: Endpoint;
  /** Where devices recover by pre-shared key; without it they do not. */
  readonly recovery?: Endpoint;
  readonly client: "hawser" | "mqttjs";
  readonly startPerSecond: number;
  readonly profiles: readonly PublishProfile[];
  /** The share of devices (0..1) that sleep, and for how long each is awake and asleep. */
  readonly sleep?: { readonly share: number; readonly awakeMs: number; readonly asleepMs: number };
  /** Restarts a device and hour, spread at random: the device object is made anew over the same storage, as by a reboot. */
  readonly rebootsPerHour: number;
  /** The longest that a device waits between two attempts. */
  readonly retryCapMs: number;
  /** Refusals of this length make a device turn to its pre-shared key. */
  readonly recoveryPatienceMs: number;
  /** How many times a device asks for a new certificate in an hour, beside those that are due. */
  readonly renewalsPerHour: number;
  /** Devices run this instead of publishing by `profiles`. */
  readonly program?: ProgramPlan;
  /** How far the clock of the worker's machine is ahead of the watcher's, milliseconds; without it, they are one. */
  readonly clockAheadMs?: number;
}

/** What the CA made for a device whose key is with its worker. Nothing of it is secret. */
export interface IssuedDevice {
  readonly id: string;
  readonly role: string;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly trustAnchors: readonly Uint8Array[];
  readonly topics?: DeviceTopics;
}

/** A device's stores as they would lie in its flash: secret. */
export interface FleetIdentity {
  readonly id: string;
  readonly records: Readonly<Record<string, Uint8Array>>;
  readonly keys: Readonly<Record<string, Uint8Array>>;
}

/** PEM texts for a client that is no device. */
export interface ClientPems {
  readonly name: string;
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

/** Of what every device has around it; what is left out stays. */
export interface SurroundingsChange {
  readonly namesResolve?: boolean;
  readonly clockAheadMs?: number;
}

export type WorkerOrder =
  /** Make keys for these devices and keep them. */
  | { readonly kind: "make-keys"; readonly ids: readonly string[] }
  /** What the CA made for them; they are prepared with those that `prepare` brings. */
  | { readonly kind: "install"; readonly devices: readonly IssuedDevice[] }
  | { readonly kind: "prepare"; readonly plan: FleetPlan; readonly devices: readonly FleetIdentity[] }
  /** At this time of the worker's own clock, or at once. */
  | { readonly kind: "start"; readonly atMs?: number }
  /** Publish no more, wake everybody, and deliver what was accepted. */
  | { readonly kind: "drain" }
  | { readonly kind: "renew"; readonly share: number }
  | { readonly kind: "surroundings"; readonly change: SurroundingsChange }
  | { readonly kind: "stop" };

/** What a worker has seen so far; sums, so that any may be lost but the last. */
export interface WorkerReport {
  readonly kind: "report";
  readonly devices: number;
  readonly started: number;
  readonly connected: number;
  readonly asleep: number;
  readonly byCredential: Readonly<Record<string, number>>;
  readonly accepted: number;
  readonly refused: number;
  /** Accepted and not yet delivered. */
  readonly waiting: number;
  readonly connections: number;
  /** Devices that were ever connected by this kind of credential. */
  readonly devicesByCredential: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly renewed: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly rssBytes: number;
  readonly cpuMicros: number;
  /** Devices that came online for the first time since the last report. */
  readonly cameOnline: readonly string[];
  /** An HDR histogram of microseconds, compressed: from each attempt to connect that came off to its CONNACK. */
  readonly connecting: string;
}

/** One device's account: messages are numbered from 0 without gaps. */
export interface DeviceAccount {
  readonly id: string;
  readonly numbered: number;
  /** Numbers whose message the device did not accept, or gave up with an error that its application saw. */
  readonly notAccepted: readonly number[];
  /** The QoS of each number's profile: a digit a number. */
  readonly qos: string;
}

export type WorkerAnswer =
  | { readonly kind: "requests"; readonly requests: readonly { readonly id: string; readonly csr: Uint8Array }[] }
  | { readonly kind: "installed" }
  | { readonly kind: "prepared"; readonly rssBytes: number }
  | WorkerReport
  | {
      readonly kind: "stopped";
      readonly accounts: readonly DeviceAccount[];
      readonly programs: readonly ProgramAccount[];
      readonly programReport: ProgramReport | undefined;
      readonly kept: readonly FleetIdentity[];
      readonly report: WorkerReport;
    }
  | Failed;

export interface Failed {
  readonly kind: "failed";
  readonly message: string;
  /** Of a mistake that is the user's. */
  readonly code?: ErrorCode;
  readonly nextStep?: string;
}

export type WatcherOrder =
  | {
      readonly kind: "watch";
      readonly credentials: ClientPems;
      readonly broker: Endpoint;
      readonly seed: string;
      /** Commands a second to devices drawn at random, each to be answered. */
      readonly commandsPerSecond: number;
      readonly ids: readonly string[];
      /** Of the devices' topics, with `{id}`. */
      readonly base: string;
      /** Messages are a program's own: they are told apart by content, and these are the commands, each device's in turn. */
      readonly program?: Pick<ProgramPlan, "commands">;
    }
  /** These devices take commands from now on. */
  | { readonly kind: "online"; readonly ids: readonly string[] }
  | { readonly kind: "quiet" }
  | { readonly kind: "stop" };

export interface WatcherReport {
  readonly kind: "seen";
  /** Distinct messages, and copies beyond the first. */
  readonly messages: number;
  readonly copies: number;
  readonly commands: number;
  readonly answers: number;
  /** Milliseconds since the last message. */
  readonly quietMs: number;
  /** HDR histograms of microseconds, compressed: all of the run, so that any report but the last may be lost. */
  readonly delivery: string;
  readonly answer: string;
}

export type WatcherAnswer =
  | { readonly kind: "watching" }
  | WatcherReport
  | {
      readonly kind: "watched";
      /** How often each number of a device came: a byte a number. */
      readonly counts: readonly (readonly [id: string, counts: Uint8Array])[];
      /** Of a program: how often each content of a device came, and each command's content that the broker took for it. */
      readonly contents: readonly (readonly [id: string, counts: ReadonlyMap<number, number>])[];
      readonly commanded: readonly (readonly [id: string, counts: ReadonlyMap<number, number>])[];
      readonly strangers: readonly string[];
      readonly unanswered: readonly string[];
      readonly report: WatcherReport;
    }
  | Failed;

export type AnyOrder = WorkerOrder | WatcherOrder;
export type AnyAnswer = WorkerAnswer | WatcherAnswer;
