import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { Telemetry } from "./telemetry.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A broker that acknowledges when it is told to. */
class SlowBroker {
  readonly payloads: string[] = [];
  readonly #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  readonly publish = (payload: string): Promise<void> => {
    this.payloads.push(payload);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  };

  async acknowledge(): Promise<void> {
    this.#waiting.shift()?.resolve();
    await vi.advanceTimersByTimeAsync(0);
  }

  async refuse(error: Error): Promise<void> {
    this.#waiting.shift()?.reject(error);
    await vi.advanceTimersByTimeAsync(0);
  }
}

function telemetry(count?: number): { subject: Telemetry; broker: SlowBroker; events: string[]; finished: () => boolean } {
  const broker = new SlowBroker();
  const events: string[] = [];
  const subject = new Telemetry({
    everyMs: 1000,
    ...(count === undefined ? {} : { count }),
    publish: broker.publish,
    onPublished: (n) => events.push(`published ${n}`),
    onFailed: (n, code) => events.push(`failed ${n} ${code}`),
  });
  let finished = false;
  void subject.done.then(() => (finished = true));
  return { subject, broker, events, finished: () => finished };
}

describe("Telemetry", () => {
  test("sends a numbered reading at once and then at each interval", () => {
    const { subject, broker } = telemetry();
    subject.start();
    subject.start();
    vi.advanceTimersByTime(2000);
    expect(broker.payloads.map((payload) => (JSON.parse(payload) as { n: number }).n)).toEqual([1, 2, 3]);
    for (const payload of broker.payloads) expect((JSON.parse(payload) as { temperature: number }).temperature).toBeCloseTo(21.5, 0);
  });

  test("is done when enough readings are acknowledged, and sends no more than asked for", async () => {
    const { subject, broker, events, finished } = telemetry(2);
    subject.start();
    vi.advanceTimersByTime(5000);
    expect(broker.payloads).toHaveLength(2);
    await broker.acknowledge();
    expect(finished()).toBe(false);
    await broker.acknowledge();
    expect(finished()).toBe(true);
    expect(events).toEqual(["published 1", "published 2"]);
  });

  test("sends another reading for one that was not taken", async () => {
    const { subject, broker, events, finished } = telemetry(1);
    subject.start();
    await broker.refuse(new HawserError("OUTBOX_FULL", "full"));
    vi.advanceTimersByTime(1000);
    await broker.acknowledge();
    expect(events).toEqual(["failed 1 OUTBOX_FULL", "published 2"]);
    expect(finished()).toBe(true);
  });

  test("sends nothing more when it is stopped", () => {
    const { subject, broker } = telemetry();
    subject.start();
    subject.stop();
    vi.advanceTimersByTime(5000);
    expect(broker.payloads).toHaveLength(1);
  });
});
