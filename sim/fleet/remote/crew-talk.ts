/** What machines of a fleet and whoever leads it say on NATS beside orders and answers: who is free, who is hired, what time it is. */

const ROOT = "hawser.fleet";
/** An offer, a beat: each so often. */
export const BEAT_EVERY_MS = 1_000;
/** Nothing heard for so long: it is gone. */
export const GONE_MS = 10_000;
/** Of one machine. */
export const MOST_DEVICES = 1_000_000;
export const MOST_SLOTS = 1_024;

export const OFFERS = `${ROOT}.offers`;

/** A machine that is free; said again and again until it is hired. */
export interface Offer {
  readonly v: 1;
  /** Drawn at its start. */
  readonly machine: string;
  /** Its host's name. */
  readonly name: string;
  readonly devicesAtMost: number;
  /** Worker processes. */
  readonly slots: number;
}

export type MachineRequest = { readonly do: "time" } | { readonly do: "hire"; readonly run: string };

export type MachineReply = { readonly nowMs: number } | { readonly hired: boolean };

/** What a slot of a machine says. */
export type SlotSays =
  | { readonly answer: unknown }
  /** Its process ended by itself. */
  | { readonly ended: string };

export const machineSubject = (machine: string): string => `${ROOT}.machine.${machine}`;
export const leaderBeat = (run: string): string => `${ROOT}.run.${run}.leader`;
/** Whoever leads the run lets all go. */
export const dismissal = (run: string): string => `${ROOT}.run.${run}.dismissed`;
export const machineBeat = (run: string, machine: string): string => `${ROOT}.run.${run}.${machine}.beat`;
export const slotOrders = (run: string, machine: string, slot: number): string => `${ROOT}.run.${run}.${machine}.${slot}.orders`;
export const slotAnswers = (run: string, machine: string, slot: number): string => `${ROOT}.run.${run}.${machine}.${slot}.answers`;

export function said(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value)));
}

/** What was said, if it is an object of JSON. */
export function heard(data: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/** An offer as it may be believed; anybody who may speak on NATS can send one. */
export function readOffer(data: Uint8Array): Offer | undefined {
  const { v, machine, name, devicesAtMost, slots } = heard(data) ?? {};
  if (v !== 1 || !isToken(machine) || !isToken(name)) return undefined;
  if (!isCount(devicesAtMost, MOST_DEVICES) || !isCount(slots, MOST_SLOTS)) return undefined;
  return { v, machine, name, devicesAtMost, slots };
}

/** Part of a subject, and of a line on a screen. */
export function isToken(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(value);
}

function isCount(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;
}
