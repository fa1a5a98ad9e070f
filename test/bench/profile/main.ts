/**
 * `npm run bench:profile`: what holds back Hawser's MQTT client on Node: the heap of an idle connection by class, plain and over mutual
 * TLS, and the processor's time of messages of 1 KiB by function. Against the bench's sink.
 */
import { connectHawser } from "../hawser-client.js";
import { startPeers, type Peers } from "../peers.js";
import { playPart } from "../processes.js";
import type { QoS } from "../task.js";
import { cpuByFunction } from "./cpu-functions.js";
import { heapByClass } from "./heap-classes.js";

const CONNECTIONS = 500;
const OPENED_AT_ONCE = 25;
const MESSAGES = 100_000;
const PAYLOAD_BYTES = 1_024;
const SHOWN = 14;

const print = (text = ""): void => void process.stdout.write(`${text}\n`);

function show(title: string, values: ReadonlyMap<string, number>, form: (value: number) => string): void {
  const rows = [...values].filter(([, value]) => value > 0).sort(([, one], [, other]) => other - one);
  const rest = rows.slice(SHOWN).reduce((sum, [, value]) => sum + value, 0);
  print(`\n${title}`);
  for (const [name, value] of rows.slice(0, SHOWN)) print(`${name.slice(0, 58).padEnd(60)}${form(value).padStart(10)}`);
  print(`${`${Math.max(0, rows.length - SHOWN)} others`.padEnd(60)}${form(rest).padStart(10)}`);
}

async function idleHeap(peers: Peers, transport: "plain" | "mTLS"): Promise<void> {
  const connect = connectHawser(peers.place("sink", transport));
  const open = async (from: number, count: number): Promise<Awaited<ReturnType<typeof connect>>[]> => {
    const opened = [];
    for (let n = 0; n < count; n += OPENED_AT_ONCE)
      opened.push(...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, (_, index) => connect(`idle-${from + n + index}`)))));
    return opened;
  };
  const warm = await open(0, 100);
  const before = await heapByClass();
  const counted = await open(100, CONNECTIONS);
  const after = await heapByClass();
  const each = new Map([...after].map(([name, bytes]) => [name, (bytes - (before.get(name) ?? 0)) / CONNECTIONS]));
  const sum = [...each.values()].reduce((total, bytes) => total + bytes, 0);
  show(`heap of an idle connection, ${transport}, by class: ${Math.round(sum)} bytes`, each, (bytes) => bytes.toFixed(0));
  for (const client of [...warm, ...counted]) await client.close();
}

async function publishing(peers: Peers, qos: QoS): Promise<void> {
  const client = await connectHawser(peers.place("sink", "plain"))("profiled");
  const payload = Buffer.alloc(PAYLOAD_BYTES, "x");
  await client.publish(payload, qos, MESSAGES / 5);
  const shares = await cpuByFunction(() => client.publish(payload, qos, MESSAGES));
  show(`time of publishing 1 KiB at QoS ${qos}, plain, by function`, shares, (share) => `${(100 * share).toFixed(1)} %`);
  await client.close();
}

async function receiving(peers: Peers, qos: QoS): Promise<void> {
  const client = await connectHawser(peers.place("sink", "plain"))("profiled");
  let left = 0;
  let done = (): void => undefined;
  await client.subscribe(qos, PAYLOAD_BYTES, (count) => {
    left -= count;
    if (left <= 0) done();
  });
  const receive = async (messages: number): Promise<void> => {
    left = messages;
    const all = new Promise<void>((resolve) => (done = resolve));
    await client.order(`${messages},${PAYLOAD_BYTES},${qos}`);
    await all;
  };
  await receive(MESSAGES / 5);
  const shares = await cpuByFunction(() => receive(MESSAGES));
  show(`time of receiving 1 KiB at QoS ${qos}, plain, by function`, shares, (share) => `${(100 * share).toFixed(1)} %`);
  await client.close();
}

if (!playPart(process.argv[2])) {
  const peers = await startPeers(false);
  try {
    await idleHeap(peers, "plain");
    await idleHeap(peers, "mTLS");
    await publishing(peers, 1);
    await receiving(peers, 1);
  } finally {
    await peers.stop();
  }
}
