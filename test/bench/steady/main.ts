/**
 * `npm run bench:steady [-- MESSAGES]`: a million messages of QoS 1 over a week of virtual time, half of them each way, with a connection
 * that breaks every hour in the middle of a batch, through a persistent `MqttClient`. Prints where heap, storage, timers and identifiers
 * stand at times, and the straight line through them: after the first day, nothing may grow.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MqttClient } from "../../../sdk/mqtt/client.js";
import type { Storage } from "../../../sdk/platform.js";
import { straightLine } from "../../../sim/fleet/straight-line.js";
import { ManualTime, settle, testPlatform } from "../../support/mqtt/manual-time.js";
import { TirelessBroker } from "./tireless-broker.js";

const WEEK_MS = 7 * 86_400_000;
const SAMPLES = 28;
/** The first day: caches of the engine fill. */
const SETTLED_AFTER = SAMPLES / 7;
/** Messages of a batch, half of them each way. */
const BATCH = 100;
const HOUR_MS = 3_600_000;

interface Sample {
  readonly atMs: number;
  readonly heapBytes: number;
  readonly records: number;
  readonly recordBytes: number;
  readonly timers: number;
  readonly unacknowledged: number;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const grouped = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Storage in memory, whose records can be counted. */
class CountedStorage implements Storage {
  readonly #records = new Map<string, Uint8Array>();

  get(key: string): Uint8Array | undefined {
    return this.#records.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.#records.set(key, value.slice());
  }

  delete(key: string): void {
    this.#records.delete(key);
  }

  list(prefix: string): string[] {
    return [...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  get sizes(): readonly [records: number, bytes: number] {
    return [this.#records.size, [...this.#records.values()].reduce((sum, { length }) => sum + length, 0)];
  }
}

export class SteadyRun {
  readonly time = new ManualTime();
  readonly broker = new TirelessBroker();
  readonly storage = new CountedStorage();
  readonly client: MqttClient;
  sent = 0;
  confirmed = 0;
  taken = 0;
  reconnects = 0;

  constructor() {
    const options = { clientId: "steady", protocolVersion: 5, cleanStart: false, sessionExpirySeconds: 86_400, persistent: true } as const;
    this.client = new MqttClient({ ...options, keepAliveSeconds: 60, connackTimeoutMs: 10_000 }, testPlatform(this.time), this.storage);
  }

  async begin(): Promise<void> {
    await this.#connect();
    const commands = this.client.subscribe("down/#", { qos: 1 });
    void (async () => {
      for await (const { payload } of commands) this.taken += payload.length === 0 ? 0 : 1;
    })();
    await this.#until(() => this.broker.unacknowledged.size === 0);
  }

  /** A batch, in the middle of which the connection may break. */
  async batch(breaks: boolean): Promise<void> {
    const wanted = this.confirmed + BATCH / 2;
    this.broker.isMute = breaks;
    for (let n = 0; n < BATCH / 2; n++) {
      const published = this.client.publish("up/reading", `reading ${this.sent++} of a steady sensor`, { qos: 1 });
      void published.then(() => this.confirmed++);
      this.broker.send("down/command", Uint8Array.of(n, n, n));
    }
    if (breaks) {
      await settle();
      this.broker.cut();
      await this.#connect();
    }
    await this.#until(() => this.confirmed === wanted && this.broker.unacknowledged.size === 0);
  }

  /** Once the engine has collected what it can. */
  sample(collect: () => void): Sample {
    collect();
    const [records, recordBytes] = this.storage.sizes;
    const { timers } = this.time;
    return {
      atMs: this.time.monotonicMs(),
      heapBytes: process.memoryUsage().heapUsed,
      records,
      recordBytes,
      timers,
      unacknowledged: this.broker.unacknowledged.size,
    };
  }

  async #connect(): Promise<void> {
    await this.client.connect(this.broker.dial);
    this.reconnects++;
  }

  /** At once, as far as promises lead; a session that needs more than a virtual minute is stuck. */
  async #until(reached: () => boolean): Promise<void> {
    for (let round = 0; round < 600; round++) {
      await settle();
      if (reached()) return;
      await this.time.pass(100);
    }
    throw new Error(`stuck after ${this.confirmed} messages at ${this.time.monotonicMs()} ms`);
  }
}

export async function bench(messages: number): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const run = new SteadyRun();
  const batches = Math.round(messages / BATCH);
  const samples: Sample[] = [];
  let breakAtMs = HOUR_MS;
  await run.begin();
  print(
    `${"day".padStart(6)}${"messages".padStart(12)}${"heap".padStart(12)}${"records".padStart(9)}${"bytes".padStart(8)}${"timers".padStart(8)}${"open ids".padStart(10)}`,
  );
  for (let n = 1; n <= batches; n++) {
    const breaks = run.time.monotonicMs() >= breakAtMs;
    if (breaks) breakAtMs += HOUR_MS;
    await run.batch(breaks);
    await run.time.pass(Math.max(0, (n * WEEK_MS) / batches - run.time.monotonicMs()));
    if (n % Math.round(batches / SAMPLES) !== 0) continue;
    const sample = run.sample(collect);
    samples.push(sample);
    const { atMs, heapBytes, records, recordBytes, timers, unacknowledged } = sample;
    print(
      `${(atMs / 86_400_000).toFixed(2).padStart(6)}${grouped(run.confirmed + run.taken).padStart(12)}${grouped(heapBytes).padStart(12)}${String(records).padStart(9)}${String(recordBytes).padStart(8)}${String(timers).padStart(8)}${String(unacknowledged).padStart(10)}`,
    );
  }
  print(
    `${grouped(run.confirmed)} published and confirmed, ${grouped(run.taken)} received, ${run.reconnects} connections, ${grouped(run.broker.repeated)} sent again`,
  );
  for (const name of ["heapBytes", "records", "recordBytes", "timers", "unacknowledged"] as const) {
    const settled = samples.slice(SETTLED_AFTER).map((sample) => ({ atMs: sample.atMs, value: sample[name] }));
    const values = settled.map(({ value }) => value);
    const { slope } = straightLine(settled);
    print(
      `${name.padEnd(16)} ${(slope * 86_400_000).toFixed(1).padStart(9)} a day after the first (${grouped(Math.min(...values))}..${grouped(Math.max(...values))})`,
    );
  }
}
