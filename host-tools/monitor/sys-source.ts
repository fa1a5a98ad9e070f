/** Reads a broker's `$SYS` topics, and says whether the broker is there. */
import { errorMessage } from "../../sdk/errors.js";
import type { Message } from "../../sdk/mqtt/index.js";
import { MqttClient } from "../../sim/node/url-client.js";
import type { UrlClientOptions } from "../../sim/node/url-client.js";
import { SYS_TOPICS } from "./broker-metrics.js";

/** Other messages of the same broker. */
export interface SysExtra {
  readonly filter: string;
  message(topic: string, payload: Uint8Array): void;
}

export interface SysOwner {
  sysMessage(topic: string, payload: string): void;
  setUp(isUp: boolean): void;
  /** Why the broker is out of reach, once for each time. */
  unreachable(reason: string): void;
}

const RETRY_MS = 5000;
/** A `$SYS` value is a number. */
const MAX_PAYLOAD_BYTES = 64;

export class SysSource {
  readonly #url: string;
  readonly #options: UrlClientOptions;
  readonly #owner: SysOwner;
  readonly #extra: SysExtra | undefined;
  #client: MqttClient | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isReported = false;

  constructor(url: string, options: UrlClientOptions, owner: SysOwner, extra?: SysExtra) {
    this.#extra = extra;
    this.#url = url;
    this.#options = options;
    this.#owner = owner;
  }

  /** Connects, and keeps trying. */
  start(): void {
    this.#owner.setUp(false);
    void this.#connect();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#client?.disconnect();
  }

  async #connect(): Promise<void> {
    try {
      // Each attempt is a new client: what was subscribed before is subscribed again, and every value comes again.
      const client = await MqttClient.connect(this.#url, { ...this.#options, reconnect: false, keepAliveSeconds: 15 });
      this.#client = client;
      if (this.#isClosed) return await client.disconnect();
      client.listen((event) => {
        if (event.type === "disconnected") this.#lost(event.message);
      });
      this.#isReported = false;
      this.#owner.setUp(true);
      for (const topic of SYS_TOPICS) void this.#read(client, topic, (message) => this.#value(message));
      const extra = this.#extra;
      // What is retained is old, and was told when it was new.
      if (extra !== undefined)
        void this.#read(client, extra.filter, ({ topic, payload, retain }) => retain || extra.message(topic, payload));
    } catch (error) {
      this.#lost(errorMessage(error));
    }
  }

  #value({ topic, payload }: Message): void {
    if (payload.length <= MAX_PAYLOAD_BYTES) this.#owner.sysMessage(topic, Buffer.from(payload).toString("latin1"));
  }

  async #read(client: MqttClient, topic: string, take: (message: Message) => unknown): Promise<void> {
    try {
      for await (const message of client.subscribe(topic, { qos: 0 })) if (client === this.#client) take(message);
    } catch (error) {
      if (!this.#isClosed && client === this.#client) this.#report(`${topic}: ${errorMessage(error)}`);
    }
  }

  #lost(reason: string): void {
    this.#client = undefined;
    if (this.#isClosed) return;
    this.#owner.setUp(false);
    this.#report(reason);
    this.#retry = setTimeout(() => void this.#connect(), RETRY_MS);
  }

  #report(reason: string): void {
    if (this.#isReported) return;
    this.#isReported = true;
    this.#owner.unreachable(reason);
  }
}
