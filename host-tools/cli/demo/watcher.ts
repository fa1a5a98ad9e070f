/** The demo's eyes: an MQTT.js client with an operator's certificate. It shares no code with the device, so what it sees did happen. */
import mqtt, { type MqttClient } from "mqtt";
import type { ClientCredentials } from "../../ca/clients.js";
import { within } from "./within.js";

export interface Seen {
  topic: string;
  text: string;
}

export class Watcher {
  readonly seen: Seen[] = [];
  readonly #client: MqttClient;
  readonly #waiting = new Set<() => void>();

  constructor(credentials: ClientCredentials, name: string, port: number) {
    this.#client = mqtt.connect({
      protocol: "mqtts",
      host: "localhost",
      port,
      key: credentials.keyPem,
      cert: credentials.chainPem,
      ca: credentials.trustAnchorPem,
      clientId: name,
      protocolVersion: 4,
      clean: false,
      reconnectPeriod: 100,
      reconnectOnConnackError: true,
    });
    this.#client.on("error", () => undefined); // it reconnects; what matters is what it sees
    this.#client.on("message", (topic, payload) => {
      this.seen.push({ topic, text: payload.toString("utf8") });
      for (const look of this.#waiting) look();
    });
  }

  async subscribe(filter: string): Promise<void> {
    await within(this.#client.subscribeAsync(filter, { qos: 1 }), `the watcher's subscription to ${filter}`);
  }

  /** Connected, again after a broker's death. */
  async online(): Promise<void> {
    if (this.#client.connected) return;
    await within(new Promise<void>((resolve) => this.#client.once("connect", () => resolve())), "the watcher's connection");
  }

  async publish(topic: string, text: string): Promise<void> {
    await within(this.#client.publishAsync(topic, text, { qos: 1 }), `the watcher's message to ${topic}`);
  }

  /** The first message that fits, seen already or still to come. */
  async sees(what: string, fits: (seen: Seen) => boolean): Promise<Seen> {
    const found = (): Seen | undefined => this.seen.find(fits);
    return within(
      new Promise<Seen>((resolve) => {
        const look = (): void => {
          const seen = found();
          if (!seen) return;
          this.#waiting.delete(look);
          resolve(seen);
        };
        this.#waiting.add(look);
        look();
      }),
      what,
    );
  }

  async stop(): Promise<void> {
    await this.#client.endAsync(true);
  }
}
