/** What runs on a virtual device beside the SDK: publishes telemetry, handles commands at its own pace. One power-on long. */
import { HawserError, type Device } from "../../../sdk/index.js";
import { utf8Encode } from "../../../sdk/encoding/text.js";
import type { InboundLedger } from "../invariants/inbound-ledger.js";
import type { OutboundLedger } from "../invariants/outbound-ledger.js";
import type { SeededRandom } from "../random.js";
import type { DeviceTraits } from "./traits.js";

/** Topics below `devices/{id}/`, each at its own level, so that order can be judged topic by topic. */
const TELEMETRY = [
  { topic: "up/state", qos: 1, queue: true },
  { topic: "up/event", qos: 2, queue: true },
  { topic: "up/alarm", qos: 1, queue: false },
  { topic: "up/once", qos: 2, queue: false },
  { topic: "up/sample", qos: 0, queue: false },
] as const;

export const COMMANDS = [
  { topic: "down/set", qos: 1 },
  { topic: "down/count", qos: 2 },
] as const;

export interface ApplicationParts {
  device: Device;
  traits: DeviceTraits;
  random: SeededRandom;
  outbound: OutboundLedger;
  inbound: InboundLedger;
  boot: number;
  /** True once there is nothing more to say. */
  quiet(): boolean;
  /** False once the power went: code that still runs is only the shadow of a device. */
  alive(): boolean;
  after(delayMs: number, run: () => void): void;
  /** Writes to flash that failed so far. */
  flashRefusals(): number;
  /** A subscription was denied: what comes for it meanwhile finds nobody. */
  onDenied(): void;
  /** A message was denied. */
  onRefused: (topic: string) => void;
  now(): number;
  /** The application met something that should not be. */
  onOddity(what: string): void;
}

/** A broker that denies a subscription is asked again after this, milliseconds. */
const RESUBSCRIBE_MS = 60_000;

/** What a denied SUBSCRIBE says: 5.0, and 3.1.1 which has one code for all. */
const DENIED = new Set(["NOT_AUTHORIZED", "UNSPECIFIED_ERROR", "BROKER_HANGS_UP"]);

/** Refusals an application has to live with. */
const EXPECTED = new Set([
  "OUTBOX_FULL",
  "NOT_CONNECTED",
  "MESSAGE_DROPPED",
  "QUOTA_EXCEEDED",
  "NOT_AUTHORIZED",
  "STORAGE_FULL",
  "STORAGE_FAILED",
  "PACKET_TOO_LARGE",
  "SESSION_LOST",
  "BROKER_HANGS_UP",
]);

export class Application {
  constructor(private readonly parts: ApplicationParts) {}

  start(): void {
    this.#listen();
    this.#plan();
  }

  /** Sooner or later: an application has other things to do first. */
  #listen(): void {
    const { device, traits, after } = this.parts;
    const subscribe = (): void => {
      for (const { topic, qos } of COMMANDS) void this.#handle(topic, qos);
    };
    if (traits.subscribes === 0) return subscribe();
    if (traits.subscribes !== "connected") return void after(traits.subscribes, subscribe);
    const end = device.listen(({ type }) => {
      if (type !== "connected") return;
      end();
      subscribe();
    });
  }

  #plan(): void {
    const { random, traits, after } = this.parts;
    after(random.between(traits.publishEveryMs / 2, (traits.publishEveryMs * 3) / 2), () => {
      // Now and then everything comes at once.
      if (this.parts.quiet()) return;
      const count = random.chance(0.03) ? random.between(5, 40) : 1;
      for (let i = 0; i < count; i++) void this.#publish();
      this.#plan();
    });
  }

  async #publish(): Promise<void> {
    const { device, random, outbound, boot, alive, traits } = this.parts;
    const { topic, qos, queue } = random.pick(TELEMETRY);
    const entry = outbound.offer(device.topic(topic), qos, queue, boot, this.parts.now());
    const isPicture = traits.pictureBytes > 0 && random.chance(0.1);
    const padding = isPicture ? traits.pictureBytes : random.chance(0.1) ? random.between(0, 1_200) : random.between(0, 40);
    try {
      await device.publish(topic, utf8Encode(`${entry.sequence} ${"x".repeat(padding)}`), { qos, queue });
      if (alive()) outbound.settled(entry);
    } catch (error) {
      if (!alive()) return;
      outbound.rejected(entry);
      const code = error instanceof HawserError ? error.code : String(error);
      if (code === "NOT_AUTHORIZED") this.parts.onRefused(topic);
      if (!EXPECTED.has(code)) this.parts.onOddity(`publish was rejected with ${code}`);
    }
  }

  async #handle(topic: string, qos: 1 | 2): Promise<void> {
    const { device, inbound, after, alive, onOddity } = this.parts;
    try {
      for await (const message of device.subscribe(topic, { qos })) {
        if (!alive()) return;
        const sequence = Number(message.text());
        inbound.handedOver(message.topic, sequence);
        await this.#work();
        this.#release(sequence);
      }
      if (alive()) onOddity(`the subscription to ${topic} ended by itself`);
    } catch (error) {
      if (!alive()) return;
      if (error instanceof HawserError && DENIED.has(error.code)) {
        this.parts.onDenied();
        after(RESUBSCRIBE_MS, () => void this.#handle(topic, qos));
      } else onOddity(`the subscription to ${topic} failed: ${String(error)}`);
    }
  }

  /** The SDK may note at once that the application is done with a message: a moment later it must have. */
  #release(sequence: number): void {
    const { inbound, after, flashRefusals } = this.parts;
    const refusals = flashRefusals();
    inbound.release(sequence);
    after(1, () => {
      if (flashRefusals() === refusals) inbound.wroteSession();
    });
  }

  /** Handling takes no time, a moment, or long enough for the connection to go meanwhile. */
  #work(): Promise<void> {
    const { random, after } = this.parts;
    const delayMs =
      this.parts.quiet() || random.chance(0.5) ? 0 : random.chance(0.95) ? random.between(1, 2_000) : random.between(20_000, 180_000);
    return delayMs === 0 ? Promise.resolve() : new Promise((resolve) => after(delayMs, resolve));
  }
}
