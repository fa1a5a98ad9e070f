/** Requests and their answers over MQTT 5.0 (section 4.10): response topic and correlation data. */
import { errorMessage, HawserError } from "../errors.js";
import type { Cancel, Random, Scheduler } from "../platform.js";
import type { PublishOptions, PublishResult, SubscribeOptions } from "./contract/options.js";
import type { QoS } from "./codec/packet-types.js";
import type { Message, Subscription } from "./contract/incoming-messages.js";
import { checkTopic } from "./contract/topics.js";

export interface RequesterOptions {
  /** The level at which answers come. Default 1. */
  qos?: QoS;
}

export interface RequestOptions extends PublishOptions {
  /** How long the answer may take, milliseconds. Default 30000. */
  timeoutMs?: number;
}

/** What a requester asks of its client. */
export interface RequestingClient {
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<PublishResult>;
  subscribe(filter: string, options: SubscribeOptions): Subscription;
}

interface Waiting {
  readonly resolve: (answer: Message) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: Cancel;
}

const CORRELATION_BYTES = 8;

/** Sends requests and waits for their answers (MQTT 5.0, section 4.10). */
export interface Requester {
  /**
   * Publishes a request and waits for its answer. An answer that comes too late is ignored.
   * @throws HawserError `REQUEST_TIMEOUT`, `REQUESTER_CLOSED`, or as `publish` and `subscribe`
   */
  request(topic: string, payload: Uint8Array | string, options?: RequestOptions): Promise<Message>;
  /** Gives up all requests and unsubscribes. */
  close(): Promise<void>;
}

export class PendingRequests implements Requester {
  readonly #answers: Subscription;
  /** By correlation data, as text. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(
    private readonly client: RequestingClient,
    private readonly platform: { readonly random: Random; readonly scheduler: Scheduler },
    private readonly responseTopic: string,
    options: RequesterOptions,
  ) {
    this.#answers = client.subscribe(checkTopic(responseTopic), { qos: options.qos ?? 1 });
    void this.#listen();
  }

  async request(topic: string, payload: Uint8Array | string, options: RequestOptions = {}): Promise<Message> {
    const { timeoutMs = 30_000, ...publishOptions } = options;
    // A request that nobody can answer is not sent.
    await this.#answers.granted;
    const correlationData = this.platform.random.bytes(CORRELATION_BYTES);
    const key = correlationData.join();
    const answer = new Promise<Message>((resolve, reject) => {
      const cancel = this.platform.scheduler.after(timeoutMs, () => this.#fail(key, timeoutError(topic, timeoutMs)));
      this.#waiting.set(key, { resolve, reject, cancel });
    });
    const properties = { ...options.properties, responseTopic: this.responseTopic, correlationData };
    this.client.publish(topic, payload, { ...publishOptions, properties }).catch((error: unknown) => this.#fail(key, error as Error));
    return answer;
  }

  close(): Promise<void> {
    this.#failAll(new HawserError("REQUESTER_CLOSED", `the requester on ${this.responseTopic} is closed`, "Create a new requester."));
    return this.#answers.close();
  }

  async #listen(): Promise<void> {
    try {
      for await (const answer of this.#answers) {
        const key = answer.properties.correlationData?.join() ?? "";
        this.#take(key)?.resolve(answer);
      }
    } catch (error) {
      this.#failAll(
        new HawserError(
          "REQUESTER_CLOSED",
          `cannot receive answers on ${this.responseTopic}: ${errorMessage(error)}`,
          "Check the client's permissions.",
        ),
      );
    }
  }

  #failAll(error: HawserError): void {
    for (const key of [...this.#waiting.keys()]) this.#fail(key, error);
  }

  #fail(key: string, error: Error): void {
    this.#take(key)?.reject(error);
  }

  #take(key: string): Waiting | undefined {
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    waiting?.cancel();
    return waiting;
  }
}

function timeoutError(topic: string, timeoutMs: number): HawserError {
  return new HawserError(
    "REQUEST_TIMEOUT",
    `no answer to the request on ${topic} within ${timeoutMs} ms`,
    "Check that the other side is running, or wait longer.",
  );
}
