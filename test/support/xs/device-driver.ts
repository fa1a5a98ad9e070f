/** One way to drive a device, wherever it runs: the scenario knows no more. Test material. */
import { Device } from "../../../sdk/device/device.js";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import type { Platform } from "../../../sdk/platform.js";
import { memoryKeyStore, memoryStorage } from "../../../sim/node/memory-stores.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { byPassword, type DeviceCommands, type DeviceOutput, type InstallCommand } from "../../../sim/xs/device-protocol.js";

export interface DeviceDriver {
  readonly output: readonly DeviceOutput[];
  call<Name extends keyof DeviceCommands>(name: Name, parameters: DeviceCommands[Name][0]): Promise<DeviceCommands[Name][1]>;
  line(fits: (line: DeviceOutput) => boolean, from?: number): Promise<DeviceOutput>;
  event<Type extends DeviceEvent["type"]>(type: Type, from?: number): Promise<Extract<DeviceEvent, { type: Type }>>;
}

/** The SDK on Node, in this process, obeying the same commands as the program on XS. */
export class NodeDriver implements DeviceDriver {
  readonly output: DeviceOutput[] = [];
  readonly #platform: Platform;
  readonly #waiting = new Set<() => void>();
  #device: Device | undefined;

  constructor() {
    const keyStore = memoryKeyStore();
    this.#platform = nodePlatform({ keyStore, storage: memoryStorage() });
  }

  async call<Name extends keyof DeviceCommands>(name: Name, parameters: DeviceCommands[Name][0]): Promise<DeviceCommands[Name][1]> {
    return (await this.#obey(name, parameters as DeviceCommands[keyof DeviceCommands][0])) as DeviceCommands[Name][1];
  }

  async line(fits: (line: DeviceOutput) => boolean, from = 0): Promise<DeviceOutput> {
    for (let next = from; ; next++) {
      while (next >= this.output.length) await new Promise<void>((resolve) => this.#waiting.add(resolve));
      const line = this.output[next] as DeviceOutput;
      if (fits(line)) return line;
    }
  }

  async event<Type extends DeviceEvent["type"]>(type: Type, from = 0): Promise<Extract<DeviceEvent, { type: Type }>> {
    const line = await this.line((each) => "event" in each && each.event.type === type, from);
    return (line as { event: Extract<DeviceEvent, { type: Type }> }).event;
  }

  async #obey(name: keyof DeviceCommands, parameters: object): Promise<unknown> {
    const { keyStore, storage } = this.#platform;
    switch (name) {
      case "makeKey":
        keyStore.generate("key-a");
        return base64(keyStore.csr("key-a", (parameters as DeviceCommands["makeKey"][0]).commonName));
      case "install": {
        const { psk, chain, trustAnchors, ...identity } = parameters as InstallCommand;
        if (psk !== undefined) keyStore.importPsk("psk", bytes(psk));
        installIdentity(storage, keyStore, {
          ...identity,
          trustAnchors: trustAnchors.map(bytes),
          ...(chain && { chain: chain.map(bytes) }),
        });
        return null;
      }
      case "start": {
        const { settings, signIn } = parameters as DeviceCommands["start"][0];
        this.#device = new Device({ ...settings, ...(signIn && byPassword(signIn, bytes)) }, this.#platform);
        this.#device.listen((event) => this.#say({ event }));
        this.#device.start();
        return null;
      }
      case "publish": {
        const { topic, payload, options } = parameters as DeviceCommands["publish"][0];
        return this.#started.publish(topic, bytes(payload), options);
      }
      case "subscribe": {
        const { filter, options } = parameters as DeviceCommands["subscribe"][0];
        const subscription = this.#started.subscribe(filter, options);
        void this.#show(subscription);
        return subscription.granted;
      }
      case "read":
        throw new HawserError("XS_NOT_HERE", "this driver reads at once");
      case "renew":
        this.#started.renew();
        return null;
      case "status":
        return { ...this.#started.status, base: this.#started.topic("").slice(0, -1) };
      case "stop":
        await this.#started.stop();
        return null;
      case "heap":
        throw new HawserError("XS_NOT_HERE", "Node has no heap figures of this kind");
    }
  }

  async #show(subscription: ReturnType<Device["subscribe"]>): Promise<void> {
    try {
      for await (const { topic, payload, qos, retain } of subscription)
        this.#say({ message: { topic, payload: base64(payload), qos, retain } });
    } catch (error) {
      this.#say({ log: { level: "error", message: errorMessage(error) } });
    }
  }

  get #started(): Device {
    if (this.#device === undefined) throw new HawserError("NOT_STARTED", "the device is not started");
    return this.#device;
  }

  #say(line: DeviceOutput): void {
    this.output.push(line);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

export function base64(value: Uint8Array | string): string {
  return Buffer.from(value).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
