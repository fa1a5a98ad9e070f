/** Matchers for vitest and for whatever else takes `expect.extend` (Jest does): each says what was seen instead. */
import { matches } from "../../sim/virtual/broker/message.js";
import type { DeviceEvent } from "../../sdk/events.js";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { TestDevice } from "./test-device.js";
import type { ReceivedMessage, TestPlace, WaitOptions } from "./test-place.js";

/** A payload: the text, a pattern it matches, or an object that its JSON contains. */
export type ExpectedPayload = string | RegExp | object;

export interface MatcherResult {
  pass: boolean;
  message: () => string;
}

/** What a runner gives a matcher as `this`. */
export interface MatcherState {
  isNot?: boolean;
  equals(a: unknown, b: unknown, testers?: unknown[]): boolean;
  utils?: { subsetEquality?: unknown };
}

/** How long `.not` looks on: an event that must not come needs some time not to come in. Milliseconds. */
const NOT_WITHIN_MS = 1_000;

function carries(state: MatcherState, { text }: ReceivedMessage, payload: ExpectedPayload | undefined): boolean {
  if (payload === undefined) return true;
  if (typeof payload === "string") return text === payload;
  if (payload instanceof RegExp) return payload.test(text);
  try {
    return contains(state, JSON.parse(text), payload);
  } catch {
    return false;
  }
}

/** Every property that is expected is there; asymmetric matchers (`expect.any(Number)`) work. */
function contains(state: MatcherState, actual: unknown, expected: unknown): boolean {
  const isPlain = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain(expected) || !isPlain(actual)) return state.equals(actual, expected);
  return Object.entries(expected).every(([key, value]) => contains(state, actual[key], value));
}

function shown(payload: ExpectedPayload | undefined): string {
  return payload === undefined
    ? ""
    : ` with ${payload instanceof RegExp || typeof payload === "string" ? String(payload) : JSON.stringify(payload)}`;
}

/** Resolves with why it failed, undefined when it did not. */
async function seen(
  place: { until: TestPlace["until"] },
  state: MatcherState,
  what: string,
  condition: () => boolean,
  options: WaitOptions | undefined,
): Promise<string | undefined> {
  try {
    await place.until(what, () => condition() || undefined, options ?? (state.isNot === true ? { withinMs: NOT_WITHIN_MS } : {}));
    return undefined;
  } catch (error) {
    if (!(error instanceof HawserError) || error.code !== "NOT_SEEN") throw error;
    return `${errorMessage(error)}. ${error.nextStep}`;
  }
}

function result(what: string, failure: string | undefined): MatcherResult {
  return { pass: failure === undefined, message: () => failure ?? `expected not: ${what}` };
}

export const matchers = {
  /** A message on a topic (a filter with + and # works), received already or still to come. */
  async toReceive(
    this: MatcherState,
    place: TestPlace,
    filter: string,
    payload?: ExpectedPayload,
    options?: WaitOptions,
  ): Promise<MatcherResult> {
    const what = `a message on ${filter}${shown(payload)}`;
    return result(
      what,
      await seen(
        place,
        this,
        what,
        () => place.received.some((message) => matches(filter, message.topic) && carries(this, message, payload)),
        options,
      ),
    );
  },

  /** So many such messages until now; waits for nothing. */
  toHaveReceivedTimes(this: MatcherState, place: TestPlace, times: number, filter: string, payload?: ExpectedPayload): MatcherResult {
    const fitting = place.received.filter((message) => matches(filter, message.topic) && carries(this, message, payload));
    const what = `${times} messages on ${filter}${shown(payload)}, received ${fitting.length}`;
    return { pass: fitting.length === times, message: () => `expected ${this.isNot === true ? "not " : ""}${what}` };
  },

  /** An event of the device, past or to come. */
  async toReport(
    this: MatcherState,
    device: TestDevice,
    type: DeviceEvent["type"],
    fields: object = {},
    options?: WaitOptions,
  ): Promise<MatcherResult> {
    const what = `the event "${type}"${Object.keys(fields).length === 0 ? "" : shown(fields)} of ${device.id}`;
    const failure = await seen(
      device.place,
      this,
      what,
      () => device.history.some((event) => event.type === type && contains(this, { ...event }, fields)),
      options,
    );
    return result(what, failure === undefined ? undefined : `${failure} Events: ${device.story}`);
  },

  /** Online by its certificate, now or soon. */
  async toBeOnline(this: MatcherState, device: TestDevice, options?: WaitOptions): Promise<MatcherResult> {
    const what = `${device.id} online`;
    const failure = await seen(device.place, this, what, () => device.status.state === "online", options);
    return result(what, failure === undefined ? undefined : `${failure} Events: ${device.story}`);
  },

  /** The device has dialled with its pre-shared key. Waits for nothing; mostly used with `.not`. */
  toHaveUsedPsk(this: MatcherState, device: TestDevice): MatcherResult {
    const pass = device.history.some((event) => event.type === "connecting" && event.credential === "psk");
    return {
      pass,
      message: () => `expected ${device.id} ${pass ? "not to have used" : "to have used"} its pre-shared key. Events: ${device.story}`,
    };
  },
};
