/**
 * `npm run bench`: Hawser's MQTT client beside MQTT.js in one run, against a sink that does no work. What counts is the CPU time a message and the ratio; the
 * machine's own speed cancels out. Medians of several rounds, with their spread.
 */
import { Worker } from "node:worker_threads";
import { connectHawser, connectMqttJsNoDelay, connectMqttJsPlain, type BenchClient, type Connect } from "./clients.js";

const ROUNDS = 5;
const MESSAGES = 20_000;
const WINDOW = 1_000;
const ROUND_TRIPS = 200;

/** Microseconds for one message (CPU of this thread's process, user and system), or of wall time for a round trip. */
type Measure = (client: BenchClient) => Promise<number>;

async function cpuPerMessage(run: () => Promise<void>, messages: number): Promise<number> {
  const before = process.resourceUsage();
  const eventLoopBefore = performance.eventLoopUtilization();
  await run();
  const after = process.resourceUsage();
  // The sink's thread is in this process too: its share is taken off by the main loop's own active time, which is all the client's.
  const activeMs = performance.eventLoopUtilization(eventLoopBefore).active;
  const cpuMicros = after.userCPUTime + after.systemCPUTime - before.userCPUTime - before.systemCPUTime;
  return Math.min(cpuMicros, activeMs * 1_000) / messages;
}

const publish =
  (qos: 0 | 1, sizeBytes: number): Measure =>
  (client) => {
    const payload = Buffer.alloc(sizeBytes, 0x78);
    return cpuPerMessage(async () => {
      for (let sent = 0; sent < MESSAGES; sent += WINDOW) {
        await Promise.all(Array.from({ length: WINDOW }, () => client.publish("bench/topic", payload, qos)));
      }
    }, MESSAGES);
  };

const receive =
  (sizeBytes: number): Measure =>
  async (client) => {
    let received = 0;
    let done: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (done = resolve));
    await client.receive(() => {
      if (++received === MESSAGES) done();
    });
    return cpuPerMessage(async () => {
      void client.publish("flood", Buffer.from(`${MESSAGES},${sizeBytes}`), 0);
      await all;
    }, MESSAGES);
  };

const roundTrip: Measure = async (client) => {
  const payload = Buffer.alloc(32, 0x78);
  const micros: number[] = [];
  for (let n = 0; n < ROUND_TRIPS; n++) {
    const startedMs = performance.now();
    await client.publish("bench/topic", payload, 1);
    micros.push((performance.now() - startedMs) * 1_000);
  }
  return median(micros);
};

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

async function once(port: number, connect: Connect, measure: Measure): Promise<number> {
  const client = await connect(port);
  try {
    return await measure(client);
  } finally {
    await client.close();
  }
}

/** The clients take turns, so that what disturbs the machine disturbs both. */
async function compare(port: number, name: string, measure: Measure, rival: Connect, rivalName: string): Promise<void> {
  const own: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const pair = [await once(port, connectHawser, measure), await once(port, rival, measure)] as const;
    if (round === 0) continue; // warms up both
    own.push(pair[0]);
    theirs.push(pair[1]);
  }
  const ratios = own.map((value, index) => value / (theirs[index] ?? NaN));
  const spread = `${Math.min(...ratios).toFixed(2)}..${Math.max(...ratios).toFixed(2)}`;
  const line = `${name.padEnd(30)} ${median(own).toFixed(2).padStart(9)} us ${median(theirs).toFixed(2).padStart(10)} us   ${median(ratios).toFixed(2)} (${spread})   ${rivalName}`;
  process.stdout.write(`${line}\n`);
}

const worker = new Worker(new URL("./sink.js", import.meta.url));
const port = await new Promise<number>((resolve) => worker.once("message", resolve));
process.stdout.write(`${"per message, median of 5".padEnd(30)} ${"Hawser".padStart(12)} ${"MQTT.js".padStart(13)}   ratio (spread)\n`);
await compare(port, "publish QoS 0, 32 B, CPU", publish(0, 32), connectMqttJsPlain, "MQTT.js");
await compare(port, "publish QoS 1, 32 B, CPU", publish(1, 32), connectMqttJsPlain, "MQTT.js");
await compare(port, "publish QoS 1, 1 KiB, CPU", publish(1, 1_024), connectMqttJsPlain, "MQTT.js");
await compare(port, "receive QoS 1, 32 B, CPU", receive(32), connectMqttJsPlain, "MQTT.js");
await compare(port, "receive QoS 1, 1 KiB, CPU", receive(1_024), connectMqttJsPlain, "MQTT.js");
await compare(port, "round trip QoS 1, 32 B, wall", roundTrip, connectMqttJsPlain, "MQTT.js as it is (Nagle on)");
await compare(port, "round trip QoS 1, 32 B, wall", roundTrip, connectMqttJsNoDelay, "MQTT.js, noDelay set by us");
await worker.terminate();
