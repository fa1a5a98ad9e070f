/** The independent witness of a fleet: an MQTT.js client that shares no code with the devices, counts every message, and sends commands. */
import { encodeIntoCompressedBase64 } from "hdr-histogram-js";
import mqtt, { type MqttClient } from "mqtt";
import { SeededRandom } from "../virtual/random.js";
import { latencyHistogram, micros } from "./latencies.js";
import type { WatcherAnswer, WatcherOrder, WatcherReport } from "./fleet-plan.js";
import { preciseNowMs, readPayload } from "./payload-source.js";
import { contentOf } from "./program-content.js";
import { idIn, topicOf } from "./fleet-topics.js";

const REPORT_EVERY_MS = 1_000;
const STRANGERS_KEPT = 20;

export class FleetWatcher {
  readonly #tell: (answer: WatcherAnswer) => void;
  readonly #counts = new Map<string, Uint8Array>();
  readonly #strangers: string[] = [];
  readonly #delivery = latencyHistogram();
  readonly #answer = latencyHistogram();
  /** Commands that the broker took and nobody has answered, by number. */
  readonly #unanswered = new Map<number, string>();
  /** Of a program: how often each content of a device came. */
  readonly #contents = new Map<string, Map<number, number>>();
  /** Devices that may be commanded, and the commands that the broker took for each: how often each content. */
  readonly #commandable: string[] = [];
  readonly #commanded = new Map<string, Map<number, number>>();
  #byContent = false;
  #base = "";
  #client: MqttClient | undefined;
  #reports: NodeJS.Timeout | undefined;
  #commanding: NodeJS.Timeout | undefined;
  #messages = 0;
  #copies = 0;
  #commands = 0;
  #answers = 0;
  #lastMs = preciseNowMs();

  constructor(tell: (answer: WatcherAnswer) => void) {
    this.#tell = tell;
  }

  async obey(order: WatcherOrder): Promise<void> {
    if (order.kind === "watch") return this.#watch(order);
    if (order.kind === "quiet") return clearInterval(this.#commanding);
    if (order.kind === "online") {
      this.#commandable.push(...order.ids);
      return;
    }
    clearInterval(this.#reports);
    clearInterval(this.#commanding);
    await this.#client?.endAsync(true);
    this.#tell({
      kind: "watched",
      counts: [...this.#counts],
      contents: [...this.#contents],
      commanded: [...this.#commanded],
      strangers: this.#strangers,
      unanswered: [...this.#unanswered.values()].slice(0, STRANGERS_KEPT),
      report: this.#report(),
    });
  }

  async #watch(order: Extract<WatcherOrder, { kind: "watch" }>): Promise<void> {
    const { name, keyPem, chainPem, trustAnchorPem } = order.credentials;
    const client = mqtt.connect({
      protocol: "mqtts",
      host: order.broker.host,
      port: order.broker.port,
      key: keyPem,
      cert: chainPem,
      ca: trustAnchorPem,
      // Its session outlives a broker that dies, and its keep-alive is generous: a busy machine is no reason to be away.
      clientId: name,
      clean: false,
      protocolVersion: 4,
      keepalive: 300,
      reconnectPeriod: 200,
      reconnectOnConnackError: true,
      connectTimeout: 30_000,
    });
    this.#client = client;
    this.#byContent = order.program !== undefined;
    this.#base = order.base;
    client.on("error", () => undefined);
    client.on("message", (topic, payload, { retain }) => {
      // Retained ones are from before the run.
      if (!retain) this.#seen(topic, payload);
    });
    await new Promise<void>((resolve) => client.once("connect", () => resolve()));
    await client.subscribeAsync(topicOf(order.base, "+", "up/#"), { qos: 2 });
    this.#reports = setInterval(() => this.#tell(this.#report()), REPORT_EVERY_MS);
    if (order.program !== undefined) this.#commandPrograms(client, order.program.commands, order.commandsPerSecond);
    else if (order.commandsPerSecond > 0) this.#command(client, order);
    this.#tell({ kind: "watching" });
  }

  #seen(topic: string, payload: Buffer): void {
    const nowMs = preciseNowMs();
    this.#lastMs = nowMs;
    const id = idIn(this.#base, topic);
    const isPong = topic === topicOf(this.#base, id, "up/pong");
    if (this.#byContent) {
      this.#messages += 1;
      return count(this.#contents, id, contentOf(topic, payload));
    }
    const read = readPayload(payload);
    if (read === undefined) return this.#stranger(topic);
    if (isPong) return this.#answered(read.n, nowMs - read.sentMs);
    const counts = this.#roomFor(id, read.n);
    const before = counts[read.n] ?? 0;
    counts[read.n] = Math.min(before + 1, 255);
    if (before > 0) {
      this.#copies += 1;
      return;
    }
    this.#messages += 1;
    this.#delivery.recordValue(micros(nowMs - read.sentMs));
  }

  /** A message that is none of the fleet's: a defect of the run, or of the broker's rights. */
  #stranger(topic: string): void {
    if (this.#strangers.length < STRANGERS_KEPT) this.#strangers.push(topic);
  }

  #roomFor(id: string, n: number): Uint8Array {
    const before = this.#counts.get(id) ?? new Uint8Array(16);
    if (n < before.length && this.#counts.has(id)) return before;
    const grown = new Uint8Array(Math.max(before.length, 2 ** Math.ceil(Math.log2(n + 1))));
    grown.set(before);
    this.#counts.set(id, grown);
    return grown;
  }

  /** Only to devices that have been heard: before its first connection a device has no session that a command could wait in. */
  #command(client: MqttClient, { seed, ids, commandsPerSecond }: Extract<WatcherOrder, { kind: "watch" }>): void {
    const random = new SeededRandom(`${seed}/commands`);
    this.#commanding = setInterval(() => {
      const id = random.pick(ids);
      if (!this.#counts.has(id)) return;
      const n = this.#commands++;
      client.publish(topicOf(this.#base, id, "down/ping"), `{"n":${n},"sentMs":${preciseNowMs().toFixed(3)}}`, { qos: 1 });
      this.#unanswered.set(n, `command ${n} to ${id}`);
    }, 1_000 / commandsPerSecond);
  }

  /** Each device in turn, so that a short run reaches as many as it can. */
  #commandPrograms(client: MqttClient, commands: readonly { readonly topic: string; readonly payload: string }[], perSecond: number): void {
    if (commands.length === 0) return;
    this.#commanding = setInterval(() => {
      const n = this.#commands;
      const id = this.#commandable[n % this.#commandable.length];
      const command = commands[Math.floor(n / Math.max(1, this.#commandable.length)) % commands.length];
      if (id === undefined || command === undefined) return;
      this.#commands += 1;
      const [topic, payload] = [topicOf(this.#base, id, command.topic), command.payload.split("{n}").join(String(n))];
      client.publish(topic, payload, { qos: 1 }, (error) => {
        if (!error) count(this.#commanded, id, contentOf(topic, payload));
      });
    }, 1_000 / perSecond);
  }

  #answered(n: number, tookMs: number): void {
    if (!this.#unanswered.delete(n)) return;
    this.#answers += 1;
    this.#answer.recordValue(micros(tookMs));
  }

  #report(): WatcherReport {
    return {
      kind: "seen",
      messages: this.#messages,
      copies: this.#copies,
      commands: this.#commands,
      answers: this.#answers,
      quietMs: preciseNowMs() - this.#lastMs,
      delivery: encodeIntoCompressedBase64(this.#delivery),
      answer: encodeIntoCompressedBase64(this.#answer),
    };
  }
}

function count(counts: Map<string, Map<number, number>>, id: string, content: number): void {
  const mine = counts.get(id) ?? new Map<number, number>();
  counts.set(id, mine);
  mine.set(content, (mine.get(content) ?? 0) + 1);
}
