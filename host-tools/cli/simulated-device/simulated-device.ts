/** What `sim run` needs of a device, whichever engine it runs on. The SDK's own `Device` is one. */
import type { DeviceEvent } from "../../../sdk/events.js";
import type { PublishOptions, SubscribeOptions } from "../../../sdk/mqtt/contract/options.js";

export interface SimulatedMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
}

export interface SimulatedDevice {
  topic(relative: string): string;
  listen(listener: (event: DeviceEvent) => void): unknown;
  /** Before `start`, so that nothing is missed. */
  subscribe(filter: string, options: SubscribeOptions): AsyncIterable<SimulatedMessage>;
  start(): void | Promise<void>;
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<unknown>;
  renew(): void;
  stop(): Promise<void>;
}

/** A device and what it runs on. */
export interface OpenDevice {
  readonly device: SimulatedDevice;
  /** Rejects when the engine ends by itself. */
  readonly broken: Promise<never>;
  /** After `stop`. Gives the vault free. */
  close(): Promise<void>;
}
