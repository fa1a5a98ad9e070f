/** What a device stays awake for when it sleeps between its deliveries, and for how long. */
import { checkOptions, whole, type Rules } from "../checks/option-rules.js";
import type { HawserError } from "../errors.js";
import { badOption, type PublishOptions, type PublishResult } from "../mqtt/contract/options.js";
import type { Platform } from "../platform.js";
import type { Device, DeviceTopic } from "./device.js";

/** A message for `Device.deliver`. The default is QoS 1; QoS 0 is never confirmed and not possible. */
export interface Delivery extends Omit<PublishOptions, "qos" | "queue" | "signal"> {
  topic: DeviceTopic;
  payload: Uint8Array | string;
  qos?: 1 | 2;
}

export interface DeliveryOptions {
  /** The longest time awake, milliseconds, 1..3600000; default 20000. The goodbye to a broker that no longer answers adds 5 seconds. */
  withinMs?: number;
  /** How long to stay for messages from the broker when all else is done, milliseconds, 0..3600000; default 500. Part of `withinMs`. */
  listenMs?: number;
}

/**
 * - `confirmed`: the broker has it; `reasonCode` as in `PublishResult`.
 * - `waiting`: in the outbox, sent or not, for the next connection.
 * - `failed`: given up, for the reason that `publish` would reject with.
 */
export type DeliveryOutcome =
  | { readonly state: "confirmed"; readonly reasonCode: number }
  | { readonly state: "waiting" }
  | { readonly state: "failed"; readonly error: HawserError };

export interface DeliveryReport {
  /** One for each message given, in order. */
  readonly messages: readonly DeliveryOutcome[];
  /** Messages in the outbox, those of earlier deliveries included. */
  readonly waiting: number;
}

const DEFAULT_WITHIN_MS = 20_000;
const DEFAULT_LISTEN_MS = 500;
/** How often a renewal is looked after, milliseconds. */
const LOOK_MS = 50;

const DELIVERY: Rules<DeliveryOptions> = { withinMs: whole(1, 3_600_000), listenMs: whole(0, 3_600_000) };

/** @throws HawserError `BAD_OPTION` */
export function checkDelivery(messages: readonly Delivery[], options: DeliveryOptions): void {
  checkOptions(options, DELIVERY, badOption);
  if (!Array.isArray(messages)) throw badOption("messages", "must be a list");
  for (const message of messages as readonly unknown[]) {
    if (typeof message !== "object" || message === null) throw badOption("messages", "must be objects with topic and payload");
    if ((message as { qos?: unknown }).qos === 0) throw badOption("qos", "must be 1 or 2 in a delivery: QoS 0 is never confirmed");
  }
}

/** Knows at any time what has become of a message. */
export class FollowedMessage {
  outcome: DeliveryOutcome = { state: "waiting" };

  constructor(sent: Promise<PublishResult>) {
    sent.then(
      ({ reasonCode }) => (this.outcome = { state: "confirmed", reasonCode }),
      (error: unknown) => (this.outcome = { state: "failed", error: error as HawserError }),
    );
  }
}

/**
 * Settles when the outbox is empty, no upkeep is under way and the time to listen is over; when the time awake is up; or when the device is
 * stopped.
 * @param isBusy upkeep is under way: a device that went to sleep each time before the authority's answer would never get a new certificate
 */
export function stayAwake(device: Device, platform: Platform, isBusy: () => boolean, options: DeliveryOptions): Promise<void> {
  const { clock, scheduler } = platform;
  const { withinMs = DEFAULT_WITHIN_MS, listenMs = DEFAULT_LISTEN_MS } = options;
  const untilMs = clock.monotonicMs() + withinMs;
  const leftMs = (): number => Math.max(0, untilMs - clock.monotonicMs());
  const pause = (delayMs: number): Promise<void> => new Promise((resolve) => scheduler.after(Math.min(delayMs, leftMs()), resolve));

  return new Promise((resolve) => {
    const over = (): void => {
      endListening();
      resolve();
    };
    const endListening = device.listen(({ type }) => {
      if (type === "stopped") over();
    });
    const work = async (): Promise<void> => {
      do {
        await device.online({ timeoutMs: leftMs() });
        await device.drain({ timeoutMs: leftMs() });
        if (!isBusy()) return pause(listenMs);
        await pause(LOOK_MS);
      } while (leftMs() > 0);
    };
    // It rejects when the time is up, or when the device was stopped: the outcomes tell the rest.
    work().then(over, over);
  });
}
