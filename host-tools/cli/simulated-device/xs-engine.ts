/**
 * A simulated device on the XS engine: the SDK's `Device` in a child process, its records and keys in the vault that this process holds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { PublishOptions, SubscribeOptions } from "../../../sdk/mqtt/contract/options.js";
import type { DeviceCommands, DeviceOutput, DeviceSettings } from "../../../sim/xs/device-protocol.js";
import { XsCalls } from "../../../sim/xs/xs-calls.js";
import { endedError, type XsProcess } from "../../../sim/xs/xs-run.js";
import { startDeviceProgram } from "../../../sim/xs/xs-device.js";
import type { OpenDevice, SimulatedDevice, SimulatedMessage } from "./simulated-device.js";
import { openVaultStore } from "./vault-store.js";

/**
 * Opens the vault, builds what is not built yet and starts the engine.
 * @throws HawserError as `Vault.open`, `nativeParts`, `buildHost`
 */
export async function openXsDevice(vault: string, passphrase: string, settings: DeviceSettings): Promise<OpenDevice> {
  const store = openVaultStore(vault, passphrase);
  const folder = mkdtempSync(join(tmpdir(), "hawser-xs-"));
  let xs: XsProcess | undefined;
  const close = async (): Promise<void> => {
    xs?.kill();
    await xs?.exited;
    store.close();
  };
  try {
    // In a group of its own: a terminal's Ctrl-C is this process's to answer.
    xs = await startDeviceProgram({ folder, store, bits: 64, ownGroup: true, onMessage: (output) => device.heard(output) });
    // It says nothing before it is asked, so this comes in time.
    const device = new XsSimulatedDevice(xs, settings);
    await device.loaded();
    return { device, broken: device.broken, close };
  } catch (error) {
    await close();
    throw error;
  } finally {
    // Once it is loaded the program is no longer needed: a kill leaves nothing behind.
    rmSync(folder, { recursive: true, force: true });
  }
}

class XsSimulatedDevice implements SimulatedDevice {
  /** Rejects when the engine ends before `stop`. */
  readonly broken: Promise<never>;
  readonly #calls: XsCalls<DeviceCommands>;
  readonly #subscriptions: { filter: string; options: SubscribeOptions }[] = [];
  readonly #messages: SimulatedMessage[] = [];
  #messageCame: () => void = () => undefined;
  readonly #listeners: ((event: DeviceEvent) => void)[] = [];
  #base = "";
  #state: "new" | "started" | "stopped" | "ended" = "new";
  #renewalAsked = false;

  constructor(
    xs: XsProcess,
    private readonly settings: DeviceSettings,
  ) {
    this.#calls = new XsCalls((message) => xs.send(message));
    this.broken = new Promise((_, reject) => {
      void xs.exited.then((exit) => {
        // What was accepted and not acknowledged stays in the outbox, and its promise open, as on Node.
        if (this.#state === "stopped") return;
        const error = endedError(exit);
        this.#state = "ended";
        this.#calls.end(error);
        reject(error);
      });
    });
    // Whoever is interested waits for it; nobody else has to.
    this.broken.catch(() => undefined);
  }

  /** Settles once the program answers. */
  async loaded(): Promise<void> {
    await this.#calls.call("heap", {});
  }

  /** Once it is started. */
  topic(relative: string): string {
    return `${this.#base}/${relative}`;
  }

  listen(listener: (event: DeviceEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** One is all that `sim run` makes: every message is its. */
  subscribe(filter: string, options: SubscribeOptions): AsyncIterable<SimulatedMessage> {
    this.#subscriptions.push({ filter, options });
    return this.#received();
  }

  async *#received(): AsyncGenerator<SimulatedMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message) yield message;
      else await new Promise<void>((resolve) => (this.#messageCame = resolve));
    }
  }

  async start(): Promise<void> {
    const [, { base }] = await Promise.all([
      this.#calls.call("start", { settings: this.settings, subscriptions: this.#subscriptions }),
      this.#calls.call("status", {}),
    ]);
    this.#base = base;
    this.#state = "started";
    if (this.#renewalAsked) this.renew();
  }

  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<unknown> {
    return this.#calls.call("publish", { topic, payload: Buffer.from(payload).toString("base64"), options });
  }

  renew(): void {
    this.#renewalAsked = true;
    // An engine that has ended says so through `broken`.
    if (this.#state === "started") this.#calls.call("renew", {}).catch(() => undefined);
  }

  async stop(): Promise<void> {
    if (this.#state !== "started") return;
    await this.#calls.call("stop", {});
    this.#state = "stopped";
  }

  heard(output: DeviceOutput): void {
    if ("answer" in output) this.#calls.answered(output);
    else if ("event" in output) {
      if (output.event.type === "topics-changed") this.#base = output.event.base;
      for (const listener of this.#listeners) listener(output.event);
    } else if ("message" in output) {
      this.#messages.push({ topic: output.message.topic, payload: new Uint8Array(Buffer.from(output.message.payload, "base64")) });
      this.#messageCame();
    }
  }
}
