/** For tests: a client, a scripted broker and manual time, put together. */
import type { Failure } from "../../../sdk/failure.js";
import type { Storage } from "../../../sdk/platform.js";
import { MqttClient } from "../../../sdk/mqtt/client.js";
import type { MqttOptions } from "../../../sdk/mqtt/contract/options.js";
import { ManualTime, testPlatform } from "./manual-time.js";
import { ScriptedBroker, type PacketLibrary } from "./scripted-broker.js";

export class SessionWorld {
  readonly broker: ScriptedBroker;
  readonly client: MqttClient;
  readonly ends: Failure[] = [];
  readonly dropped: string[] = [];

  constructor(
    library: PacketLibrary,
    options: Partial<MqttOptions> = {},
    storage?: Storage,
    readonly time = new ManualTime(),
  ) {
    const defaults: MqttOptions = {
      clientId: "c",
      protocolVersion: 5,
      cleanStart: false,
      keepAliveSeconds: 0,
      connackTimeoutMs: 1_000,
      ackTimeoutMs: 0,
    };
    this.broker = new ScriptedBroker(library, this.time, options.protocolVersion ?? 5);
    this.client = new MqttClient({ ...defaults, ...options }, testPlatform(this.time), storage);
    this.client.onEnd = (reason) => this.ends.push(reason);
    this.client.onMessageDropped = (topic, code) => this.dropped.push(`${topic} ${code}`);
  }

  /** Makes a connection; the fields go into CONNACK. */
  async connect(connack: Record<string, unknown> = {}): Promise<void> {
    const connected = this.client.connect(this.broker.dial);
    await this.broker.connack(connack);
    await connected;
    await this.time.pass(0);
  }

  async cut(): Promise<void> {
    this.broker.wire?.cut();
    await this.time.pass(0);
  }
}

/** How a promise stands: "pending", "resolved", or the code it was rejected with. */
export function watch(promise: Promise<unknown>): { state: string; value?: unknown } {
  const seen: { state: string; value?: unknown } = { state: "pending" };
  promise.then(
    (value) => Object.assign(seen, { state: "resolved", value }),
    (error: { code?: string }) => Object.assign(seen, { state: error.code ?? String(error) }),
  );
  return seen;
}
