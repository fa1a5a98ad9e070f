/** What a fleet's run found: the one object that every report is written from. */
import type { DeliveryFault } from "./delivery-account.js";
import type { ProgramFacts } from "./program-facts.js";

export interface Quantiles {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was found; for a failed check also what to look at. */
  readonly detail: string;
}

/** One second of the run. */
export interface Sample {
  readonly atMs: number;
  readonly connected: number;
  readonly asleep: number;
  readonly attempts: number;
  readonly messages: number;
  readonly waiting: number;
  /** Of deliveries since the start; absent where none was measured. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly rssMb: number;
  readonly byCredential: Readonly<Record<string, number>>;
}

export interface FleetFacts {
  readonly v: 1;
  readonly name: string;
  readonly seed: string;
  readonly client: string;
  readonly broker: string;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly devices: number;
  readonly workers: number;
  readonly messages: {
    readonly accepted: { readonly qos0: number; readonly qos1: number; readonly qos2: number };
    readonly delivered: number;
    readonly copiesAtQos1: number;
    readonly lostAtQos0: number;
    readonly refused: number;
    readonly faults: readonly DeliveryFault[];
    readonly faultCount: number;
  };
  readonly commands: { readonly sent: number; readonly answered: number; readonly unanswered: readonly string[] };
  readonly delivery: Quantiles;
  readonly answer: Quantiles;
  /** From each attempt to connect that came off to its CONNACK, by the devices' own clocks; absent where it was not measured. */
  readonly connecting?: Quantiles;
  readonly connections: {
    readonly most: number;
    readonly accepted: number;
    readonly attempts: number;
    readonly allOnlineMs: number | undefined;
    readonly renewed: number;
    /** Devices that were connected by this kind of credential at any time. */
    readonly devicesByCredential: Readonly<Record<string, number>>;
  };
  readonly failures: Readonly<Record<string, number>>;
  readonly cost: { readonly kilobytesPerDevice: number; readonly cpuPercentPerThousand: number; readonly cpuMicrosPerMessage: number };
  readonly samples: readonly Sample[];
  /** Of a product's program. */
  readonly program?: ProgramFacts;
  readonly events: readonly { readonly atMs: number; readonly what: string }[];
}

/** Facts, and what is to be said of them. */
export interface FleetResult extends FleetFacts {
  readonly passed: boolean;
  readonly checks: readonly Check[];
}
