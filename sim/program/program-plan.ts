/** What a run does with a product's own program, and what it found of it: plain data that can cross a process boundary. */

/** Where commands are given and nothing is said of how many. */
export const COMMANDS_PER_SECOND = 10;
/** Messages a second of a device. */
export const PUBLISH_LIMIT = 10;
/** KB a device and minute. */
export const GROWTH_LIMIT = 64;

/** A sensor's readings: always one value, or drawn evenly from a range. */
export interface SensorRange {
  readonly lowest: number;
  readonly highest: number;
}

export interface ProgramPlan {
  /** Absolute path of the ES module that is run. */
  readonly file: string;
  /** What it was made from, as the user named it. */
  readonly source: string;
  readonly sensors: Readonly<Record<string, SensorRange>>;
  /** Buttons by name, and how often each is pressed on every device. */
  readonly pressEveryMs: Readonly<Record<string, number>>;
  /**
   * Commands that a backend sends to every device in turn: a topic below the device's own, and a text in which `{n}` is the command's
   * number.
   */
  readonly commands: readonly { readonly topic: string; readonly payload: string }[];
  /** A device that calls `publish` more often in ten seconds is a fault. */
  readonly publishesPerSecond: number;
  /** Memory that grows faster, steadily, is a leak: KB a device and minute. */
  readonly growthKilobytes: number;
}

/** The same mistake on however many devices: it is told once. */
export interface ProgramFault {
  /** `error`: thrown or rejected. `block`: the program held the engine. `refused`: a message that the broker or the SDK did not take. */
  readonly kind: "error" | "block" | "refused";
  readonly what: string;
  /** File and line, where known. */
  readonly where: string;
  /** The device on which it was seen first. */
  readonly firstId: string;
  readonly atMs: number;
  readonly count: number;
  /** The longest, of a block. */
  readonly longestMs: number;
}

/** Messages of all devices on one topic, the id replaced by `{id}`. */
export interface TopicSummary {
  readonly topic: string;
  readonly qos: number;
  readonly count: number;
  readonly leastBytes: number;
  readonly mostBytes: number;
  /** The first payload, cut short. */
  readonly example: string;
}

/** What one device's program took and gave. */
export interface ProgramAccount {
  readonly id: string;
  /**
   * Messages below `up/` that the program published, by content: 48 bits of a digest, and in the bits above the QoS of an accepted one, or
   * 3 where the program was not told that it was accepted.
   */
  readonly published: Float64Array;
  /** Accepted messages that the SDK told its application later to be given up. */
  readonly givenUp: number;
  /** Commands that the program took from its subscriptions: how often each content. */
  readonly commandsTaken: ReadonlyMap<number, number>;
  readonly filters: readonly string[];
  /** Calls of `publish` a second, in the busiest ten seconds. */
  readonly rate: number;
}

/** A worker's memory after collecting garbage. */
export interface HeapSample {
  readonly atMs: number;
  readonly devices: number;
  readonly bytes: number;
}

export interface ProgramReport {
  readonly faults: readonly ProgramFault[];
  readonly topics: readonly TopicSummary[];
  readonly heap: readonly HeapSample[];
  /** Of the worker. */
  readonly devices: number;
}
