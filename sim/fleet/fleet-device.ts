/** One device of a fleet at work: it publishes, sleeps, restarts, and keeps the account of what it accepted. */
import { errorCode } from "../../sdk/errors.js";
import { SeededRandom } from "../virtual/random.js";
import { FleetStores, hawserClient, mqttJsClient, type FleetClient } from "./fleet-client.js";
import type { FleetMember } from "./fleet-member.js";
import type { FleetSurroundings } from "./fleet-surroundings.js";
import { MemberTally, type WorkerTally } from "./member-tally.js";
import type { DeviceAccount, FleetIdentity, FleetPlan, PublishProfile } from "./fleet-plan.js";
import { PayloadSource, preciseNowMs } from "./payload-source.js";

const HOUR_MS = 3_600_000;

export class FleetDevice extends MemberTally implements FleetMember {
  readonly #stores: FleetStores;
  readonly #random: SeededRandom;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #notAccepted: number[] = [];
  /** QoS of each number, as a digit: a byte a message. A text that grows by a digit takes 32 of them, an array eight. */
  #qos = Buffer.alloc(64);
  #numbered = 0;
  #client: FleetClient;
  #isQuiet = false;
  #isStopped = false;
  isAsleep = false;
  isStarted = false;

  constructor(
    private readonly plan: FleetPlan,
    identity: FleetIdentity,
    tally: WorkerTally,
    private readonly surroundings: FleetSurroundings,
  ) {
    super(tally);
    this.#stores = new FleetStores(identity);
    this.#random = new SeededRandom(`${plan.seed}/${identity.id}`);
    this.#client = this.#boot();
  }

  get id(): string {
    return this.#stores.identity.id;
  }

  start(): void {
    this.isStarted = true;
    this.#client.start();
    for (const [index, profile] of this.plan.profiles.entries())
      this.#publishBy(profile, new PayloadSource(profile, `${this.plan.seed}/${this.id}/${index}`));
    const { sleep, rebootsPerHour, renewalsPerHour } = this.plan;
    if (sleep !== undefined && this.#random.chance(sleep.share))
      this.#after(sleep.awakeMs * this.#random.fraction(), () => void this.#sleep(sleep));
    if (rebootsPerHour > 0) this.#again(HOUR_MS / rebootsPerHour, () => void this.#reboot());
    if (renewalsPerHour > 0) this.#again(HOUR_MS / renewalsPerHour, () => this.renew());
  }

  /** Publishes no more, and wakes up to deliver what waits. */
  quiet(): void {
    this.#isQuiet = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (this.isAsleep) this.#wake();
  }

  renew(): void {
    this.#client.renew();
  }

  waiting(): number {
    return this.#client.waiting();
  }

  async stop(): Promise<void> {
    this.quiet();
    this.#isStopped = true;
    await this.#client.stop();
  }

  account(): DeviceAccount {
    const qos = this.#qos.toString("latin1", 0, this.#numbered);
    return { id: this.id, numbered: this.#numbered, notAccepted: this.#notAccepted, qos };
  }

  kept(): FleetIdentity {
    return this.#stores.kept();
  }

  #boot(): FleetClient {
    return this.plan.client === "hawser"
      ? hawserClient(this.plan, this.#stores, this, this.surroundings)
      : mqttJsClient(this.plan, this.#stores, this);
  }

  #publishBy(profile: PublishProfile, source: PayloadSource): void {
    const send = (): void => {
      this.#publish(profile, source);
      this.#after(source.nextDelayMs(), send);
    };
    this.#after(source.firstDelayMs(), send);
  }

  #publish({ topic, qos }: PublishProfile, source: PayloadSource): void {
    // At QoS 0 only who is connected can send.
    if (qos === 0 && this.credential === undefined) return;
    const n = this.#number(qos);
    this.#client.publish(topic, source.next(n, preciseNowMs() - (this.plan.clockAheadMs ?? 0)), qos).then(
      () => {
        this.tally.accepted += 1;
      },
      (error: unknown) => {
        this.tally.refused += 1;
        this.#notAccepted.push(n);
        this.trouble(`not accepted: ${errorCode(error)}`);
      },
    );
  }

  #number(qos: number): number {
    if (this.#numbered === this.#qos.length) this.#qos = Buffer.concat([this.#qos], 2 * this.#numbered);
    this.#qos.write(String(qos), this.#numbered, "latin1");
    return this.#numbered++;
  }

  async #sleep(sleep: NonNullable<FleetPlan["sleep"]>): Promise<void> {
    this.isAsleep = true;
    await this.#client.stop();
    if (!this.#isQuiet)
      this.#after(sleep.asleepMs, () => {
        this.#wake();
        this.#after(sleep.awakeMs, () => void this.#sleep(sleep));
      });
  }

  #wake(): void {
    this.isAsleep = false;
    if (!this.#isStopped) this.#client.start();
  }

  /** The old client is let go of only when it has ended: two with one id would throw each other out. */
  async #reboot(): Promise<void> {
    if (this.isAsleep) return;
    await this.#client.stop();
    if (this.#isStopped) return;
    this.#client = this.#boot();
    this.#client.start();
  }

  #again(meanMs: number, run: () => void): void {
    this.#after(meanMs * 2 * this.#random.fraction(), () => {
      run();
      this.#again(meanMs, run);
    });
  }

  #after(delayMs: number, run: () => void): void {
    if (this.#isQuiet) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, delayMs);
    this.#timers.add(timer);
  }
}
