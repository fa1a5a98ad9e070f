/** One device of a fleet that runs a product's own program. */
import type { Program } from "../../sdk/device/program.js";
import { nodePlatform } from "../node/node-platform.js";
import type { ProgramAccount, ProgramPlan, TopicSummary } from "../program/program-plan.js";
import { ProgramDevice, type ProgramWitness } from "../program/program-device.js";
import { SeededRandom } from "../virtual/random.js";
import { deviceConfig, FleetStores, reportTo } from "./fleet-client.js";
import type { FleetMember } from "./fleet-member.js";
import type { FleetIdentity, FleetPlan } from "./fleet-plan.js";
import type { FleetSurroundings } from "./fleet-surroundings.js";
import { MemberTally, type WorkerTally } from "./member-tally.js";
import { contentOf, entryOf, TRIED } from "./program-content.js";
import type { ProgramWatch } from "./program-watch.js";
import { PublishRate } from "./publish-rate.js";

/** A connection that ends sooner after a message was sent was ended for the message, where that happens again and again. */
const AT_ONCE_MS = 2_000;
const HANG_UPS = 2;
const EXAMPLE_CHARACTERS = 200;
const HOUR_MS = 3_600_000;
export interface ProgramSurroundings {
  readonly plan: FleetPlan;
  readonly program: Program;
  readonly programPlan: ProgramPlan;
  readonly watch: ProgramWatch;
  readonly topics: TopicTable;
  readonly surroundings: FleetSurroundings;
}

export class ProgramMember extends MemberTally implements FleetMember, ProgramWitness {
  readonly isAsleep = false;
  isStarted = false;
  readonly #stores: FleetStores;
  readonly #random: SeededRandom;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #filters = new Set<string>();
  #published = new Float64Array(16);
  #publishedCount = 0;
  #givenUp = 0;
  readonly #commandsTaken = new Map<number, number>();
  #rate = new PublishRate(0);
  /** When the run had it publish no more: the time in which messages still arrive makes no program slower. */
  #quietMs: number | undefined;
  #connectedMs = 0;
  /** Connections in a row that ended at once, by the topic of the message that was being sent. */
  readonly #hangUps = new Map<string, number>();
  #device: ProgramDevice;

  constructor(
    private readonly around: ProgramSurroundings,
    identity: FleetIdentity,
    tally: WorkerTally,
  ) {
    super(tally);
    this.#stores = new FleetStores(identity);
    this.#random = new SeededRandom(`${around.plan.seed}/${identity.id}`);
    this.#device = this.#made();
  }

  get id(): string {
    return this.#stores.identity.id;
  }

  /** Of what the run itself keeps of this device. */
  get ownBytes(): number {
    return this.#published.byteLength;
  }

  override connected(credential: string): void {
    this.#connectedMs = performance.now();
    super.connected(credential);
  }

  /** A broker of 3.1.1, and some of 5.0, say no to a message by ending the connection: only what was being sent tells why. */
  override ended(code: string, wasConnected: boolean): void {
    super.ended(code, wasConnected);
    if (!wasConnected) return;
    if (performance.now() - this.#connectedMs > AT_ONCE_MS) return this.#hangUps.clear();
    const sent = this.#device.outbox().filter(({ state }) => state !== "waiting");
    const topic = (sent.find(({ topic: one }) => !one.startsWith(this.#device.topic("up/"))) ?? sent[0])?.topic;
    if (topic === undefined) return;
    const times = (this.#hangUps.get(topic) ?? 0) + 1;
    this.#hangUps.set(topic, times);
    if (times === HANG_UPS)
      this.around.watch.faults.add("refused", this.id, `the broker ends the connection when a message to ${this.#general(topic)} is sent`);
  }

  start(): void {
    const { plan, programPlan } = this.around;
    this.isStarted = true;
    this.#rate = new PublishRate(performance.now());
    this.#device.boot(this.around.program);
    for (const [name, everyMs] of Object.entries(programPlan.pressEveryMs))
      this.#timers.push(setInterval(() => this.#device.press(name), everyMs));
    if (plan.rebootsPerHour > 0) this.#rebootLater(HOUR_MS / plan.rebootsPerHour);
  }

  quiet(): void {
    this.#quietMs ??= performance.now();
    for (const timer of this.#timers) clearInterval(timer);
    this.#device.quiet();
  }

  renew(): void {
    this.#device.renew();
  }

  waiting(): number {
    return this.#device.status.outbox.messages;
  }

  async stop(): Promise<void> {
    this.quiet();
    await this.#device.stop();
  }

  account(): ProgramAccount {
    return {
      id: this.id,
      published: this.#published.slice(0, this.#publishedCount),
      givenUp: this.#givenUp,
      commandsTaken: this.#commandsTaken,
      filters: [...this.#filters],
      rate: this.#rate.perSecond(this.#quietMs ?? performance.now()),
    };
  }

  kept(): FleetIdentity {
    return this.#stores.kept();
  }

  publishing(topic: string, payload: Uint8Array | string, qos: number): void {
    this.#rate.count(performance.now());
    this.around.topics.add(this.#general(topic), payload, qos);
    if (!this.#isWatched(topic)) return;
    if (this.#publishedCount === this.#published.length) {
      const grown = new Float64Array(2 * this.#published.length);
      grown.set(this.#published);
      this.#published = grown;
    }
    this.#published[this.#publishedCount++] = entryOf(TRIED, contentOf(topic, payload));
  }

  accepted(topic: string, payload: Uint8Array | string, qos: number): void {
    if (!this.#isWatched(topic)) return;
    this.tally.accepted += 1;
    const content = contentOf(topic, payload);
    // Most are accepted soon after they were published.
    const at = this.#published.lastIndexOf(entryOf(TRIED, content), this.#publishedCount - 1);
    this.#published[at] = entryOf(qos, content);
  }

  /** What is not below `up/` the watcher does not see. */
  #isWatched(topic: string): boolean {
    return topic.startsWith(this.#device.topic("up/"));
  }

  refused(topic: string, code: string): void {
    this.tally.refused += 1;
    this.around.watch.faults.add("refused", this.id, `a message to ${this.#general(topic)} is refused: ${code}`);
  }

  gaveUp(topic: string, code: string): void {
    this.#givenUp += 1;
    this.refused(topic, code);
  }

  subscribed(filter: string): void {
    this.#filters.add(this.#general(filter));
  }

  took(topic: string, payload: Uint8Array): void {
    if (!this.around.programPlan.commands.some((command) => this.#device.topic(command.topic) === topic)) return;
    const content = contentOf(topic, payload);
    this.#commandsTaken.set(content, (this.#commandsTaken.get(content) ?? 0) + 1);
  }

  threw(error: unknown): void {
    this.around.watch.threw(this.id, error);
  }

  within<Result>(run: () => Result): Result {
    return this.around.watch.within(this.id, run);
  }

  #made(): ProgramDevice {
    const { plan, programPlan } = this.around;
    const log = (level: string, text: string, fields?: Readonly<Record<string, string | number | boolean>>): void => {
      // The SDK goes on when a listener of the program throws, and only its log says so.
      if (level === "error" && text.includes("listener"))
        this.around.watch.faults.add("error", this.id, `${text}: ${String(fields?.["error"])}`);
    };
    const device = new ProgramDevice(
      deviceConfig(plan),
      this.around.surroundings.around(nodePlatform({ keyStore: this.#stores.keyStore, storage: this.#stores.storage, log })),
      this,
    );
    reportTo(this, device);
    for (const [name, { lowest, highest }] of Object.entries(programPlan.sensors))
      device.inputs.set(name, () => lowest + (highest - lowest) * this.#random.fraction());
    return device;
  }

  /** The program begins from the start over the same storage. */
  #rebootLater(meanMs: number): void {
    const timer = setTimeout(() => void this.#reboot(meanMs), meanMs * 2 * this.#random.fraction());
    this.#timers.push(timer);
  }

  async #reboot(meanMs: number): Promise<void> {
    this.#device.quiet();
    await this.#device.stop();
    this.#device = this.#made();
    this.#device.boot(this.around.program);
    this.#rebootLater(meanMs);
  }

  #general(topic: string): string {
    return topic
      .split("/")
      .map((level) => (level === this.id ? "{id}" : level))
      .join("/");
  }
}

/** What the devices of a worker publish, summed up by topic. */
export class TopicTable {
  readonly #rows = new Map<string, { -readonly [Key in keyof TopicSummary]: TopicSummary[Key] }>();

  add(topic: string, payload: Uint8Array | string, qos: number): void {
    const sizeBytes = typeof payload === "string" ? Buffer.byteLength(payload) : payload.length;
    const row = this.#rows.get(topic);
    if (row === undefined) {
      if (this.#rows.size >= 100) return;
      this.#rows.set(topic, {
        topic,
        qos,
        count: 1,
        leastBytes: sizeBytes,
        mostBytes: sizeBytes,
        example: Buffer.from(payload).toString("utf8").slice(0, EXAMPLE_CHARACTERS),
      });
      return;
    }
    row.count += 1;
    row.qos = Math.max(row.qos, qos);
    row.leastBytes = Math.min(row.leastBytes, sizeBytes);
    row.mostBytes = Math.max(row.mostBytes, sizeBytes);
  }

  get all(): readonly TopicSummary[] {
    return [...this.#rows.values()];
  }
}
