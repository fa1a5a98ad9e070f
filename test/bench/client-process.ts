/**
 * The process of one client: it does tasks and tells what they cost. CPU time is the whole process's, user and system: the peer has a
 * process of its own.
 */
import { clientOf, type BenchClient, type Connect } from "./bench-clients.js";
import type { ClientName, FlowTask, IdleTask, Memory, Place, RoundTripTask, Task } from "./task.js";

export interface ClientOrder {
  client: ClientName;
  place: Place;
  task: Task;
}

/** Connections opened, and kept, before memory is counted from: code and pools have grown by then. */
const IDLE_BEFORE_PERCENT = 10;
const OPENED_AT_ONCE = 20;
/** TLS tickets and the like still come. */
const SETTLE_MS = 150;
const COLLECTIONS = 4;

const connects = new Map<string, Connect>();
const idle: BenchClient[] = [];

/** CPU microseconds a message, median microseconds of a round trip, or memory. */
export async function doTask({ client, place, task }: ClientOrder): Promise<number | Memory> {
  const key = `${client} ${place.port}`;
  const connect = connects.get(key) ?? (await clientOf(client, place));
  connects.set(key, connect);
  if (task.kind === "idle") return idleMemory(connect, task);
  const connection = await connect("bench");
  try {
    return task.kind === "round trip" ? await roundTrip(connection, task) : await flow(connection, task);
  } finally {
    await connection.close();
  }
}

async function flow(client: BenchClient, task: FlowTask): Promise<number> {
  const { qos, sizeBytes, messages } = task;
  if (task.kind === "publish") {
    const payload = Buffer.alloc(sizeBytes, 0x78);
    return cpuMicros(() => client.publish(payload, qos, messages)).then((micros) => micros / messages);
  }
  let left = messages;
  let done: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (done = resolve));
  await client.subscribe(qos, sizeBytes, (count) => {
    left -= count;
    if (left <= 0) done();
  });
  const micros = await cpuMicros(async () => {
    await client.order(`${messages},${sizeBytes},${qos}`);
    await all;
  });
  return micros / messages;
}

/** Without collecting garbage before: that makes V8 throw optimized code away, which would then be what is measured. */
async function cpuMicros(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

async function roundTrip(client: BenchClient, { sizeBytes, messages }: RoundTripTask): Promise<number> {
  const payload = Buffer.alloc(sizeBytes, 0x78);
  const micros: number[] = [];
  for (let n = 0; n < messages; n++) {
    const startedMs = performance.now();
    await client.roundTrip(payload);
    micros.push((performance.now() - startedMs) * 1_000);
  }
  return micros.sort((a, b) => a - b)[Math.floor(micros.length / 2)] ?? NaN;
}

async function idleMemory(connect: Connect, { connections }: IdleTask): Promise<Memory> {
  await open(connect, Math.ceil((connections * IDLE_BEFORE_PERCENT) / 100));
  const before = await settledMemory();
  await open(connect, connections);
  const after = await settledMemory();
  return { heap: (after.heap - before.heap) / connections, rss: (after.rss - before.rss) / connections };
}

async function open(connect: Connect, connections: number): Promise<void> {
  for (let left = connections; left > 0; left -= OPENED_AT_ONCE) {
    const ids = Array.from({ length: Math.min(left, OPENED_AT_ONCE) }, (_, n) => `idle-${idle.length + n}`);
    idle.push(...(await Promise.all(ids.map(connect))));
  }
}

async function settledMemory(): Promise<Memory> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (let n = 0; n < COLLECTIONS; n++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

function collect(): void {
  if (globalThis.gc === undefined) throw new Error("started without --expose-gc");
  globalThis.gc();
}
