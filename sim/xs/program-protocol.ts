/**
 * What a device on XS that runs a product's own program and whoever runs it say to each other: one JSON object a line. Commands go in, each
 * answered once, in any order; what the program does comes out as it happens. Bytes are standard base64.
 */
import type { ErrorCode } from "../../sdk/error-codes.js";
import type { DeviceEvent } from "../../sdk/events.js";
import type { SensorRange } from "../program/program-plan.js";
import type { DeviceSettings } from "./device-protocol.js";
import type { HeapFigures } from "./host-natives.js";
import type { Answer } from "./xs-calls.js";

/** Command name to [parameters, result]. */
export interface ProgramCommands {
  /** Loads the program's module from this absolute path. */
  load: [{ path: string }, null];
  /** Makes the device from what is stored (`made`), runs the program's synchronous part and connects. */
  boot: [{ settings: DeviceSettings; sensors: Readonly<Record<string, SensorRange>> }, null];
  press: [{ button: string }, null];
  renew: [object, null];
  /** The program's timers are over, and nothing that it still publishes is sent. */
  quiet: [object, null];
  /** How many messages the device holds that are not with the broker. */
  waiting: [object, number];
  stop: [object, null];
  /** After a garbage collection. */
  heap: [object, HeapFigures];
}

export type ProgramCommand = {
  [Name in keyof ProgramCommands]: { call: number; do: Name; with: ProgramCommands[Name][0] };
}[keyof ProgramCommands];

/** A value that was thrown: what of an error can be said in JSON, or the text of anything else. */
export type Thrown = { name: string; message: string; stack: string; code?: ErrorCode; nextStep?: string } | { text: string };

/** A message, and its QoS. */
export interface SaidMessage {
  topic: string;
  payload: string;
  qos: number;
}

export type ProgramOutput =
  | Answer
  /** The device's id, and the base of its topics. */
  | { made: { id: string; base: string } }
  | { event: DeviceEvent }
  | { publishing: SaidMessage }
  | { accepted: SaidMessage }
  | { refused: { topic: string; code: string } }
  | { gaveUp: { topic: string; code: string } }
  | { subscribed: { filter: string } }
  | { took: { topic: string; payload: string } }
  | { threw: Thrown }
  /** The program holds the engine: the stack is told once it did so for too long, and how long it took in all at its end. */
  | { held: { stack: string } }
  | { released: { tookMs: number } };
