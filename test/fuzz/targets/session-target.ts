/**
 * A client in the middle of its work against a broker that says anything at all: connected, subscribed, with messages of every level on
 * their way. Whatever comes, the client ends once and typed, or not at all, holds no more than it may, and works with the next broker.
 */
import mqttPacket from "mqtt-packet";
import type { Failure } from "../../../sdk/failure.js";
import { HawserError } from "../../../sdk/errors.js";
import type { LogLevel } from "../../../sdk/platform.js";
import { ConnectError } from "../../../sdk/mqtt/contract/connect-error.js";
import { MqttClient } from "../../../sdk/mqtt/client.js";
import type { ProtocolVersion } from "../../../sdk/mqtt/codec/packet-types.js";
import { ManualTime, testPlatform } from "../../support/mqtt/manual-time.js";
import { MemoryStorage } from "../../support/mqtt/memory-storage.js";
import { ModelBroker } from "../../support/mqtt/model-broker.js";
import { ScriptedBroker, type PacketLibrary } from "../../support/mqtt/scripted-broker.js";
import type { Subscription } from "../../../sdk/mqtt/contract/incoming-messages.js";
import { byteBend } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";
import { MQTT_WORDS } from "./mqtt-words.js";
import { pieces } from "./packets-target.js";

const library = mqttPacket as unknown as PacketLibrary;

const RECEIVE_MAXIMUM = 8;
/** Twice the smallest messages that a read of 64 KiB holds: what the client of 3.1.1 takes, which cannot tell the broker a bound. */
const RECEIVE_MAXIMUM_3_1_1 = 16_384;
const BUFFER_MESSAGES = 16;
const MAXIMUM_PACKET_BYTES = 4_096;
const PUBLISHED = 5;
/** What the client may set going: keep-alive, acknowledgements, storage, refused subscriptions asked for again. */
const MOST_TIMERS = 40;

/** What DISCONNECT has to say for each failure that this side finds (MQTT 5.0, table 3-10). */
const REASONS: Readonly<Partial<Record<Failure["code"], number>>> = {
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
};

/** Bits of an input's first byte. The second says how the rest, the broker's bytes, is cut into pieces. */
const Bit = { version5: 1, fromTheStart: 2, persistent: 4, sessionPresent: 8, authenticates: 16, asks: 32, rearranges: 64 } as const;

export const session: Target = {
  name: "session",
  inputs: 90_000,
  maximumBytes: 2_048,
  bend: byteBend(MQTT_WORDS),
  async open() {
    return async (input) => {
      const victim = new Victim(input[0] ?? 0);
      await victim.connect();
      for (const piece of pieces(input.subarray(2), input[1] ?? 0)) {
        if (victim.over) break;
        await victim.hear(piece);
      }
      await victim.time.pass(100);
      victim.check(input.length);
      const outcome = victim.end?.code ?? "ok";
      await victim.workOn();
      return outcome;
    };
  },
};

class Victim {
  readonly time = new ManualTime();
  readonly #version: ProtocolVersion;
  readonly #broker: ScriptedBroker;
  readonly #client: MqttClient;
  readonly #slow: Subscription;
  readonly #ends: Failure[] = [];
  readonly #complaints: string[] = [];
  /** What the application has asked for and waits for. */
  readonly #asked = new Map<Promise<unknown>, string>();
  #attemptOver = false;

  constructor(private readonly flags: number) {
    this.#version = this.#is(Bit.version5) ? 5 : 4;
    this.#broker = new ScriptedBroker(library, this.time, this.#version);
    const platform = {
      ...testPlatform(this.time),
      log: (level: LogLevel, message: string) => void (level === "error" && this.#complaints.push(message)),
    };
    const authentication = { method: "M", start: () => undefined, respond: (data: Uint8Array | undefined) => data };
    this.#client = new MqttClient(
      {
        clientId: "c",
        protocolVersion: this.#version,
        cleanStart: false,
        keepAliveSeconds: 30,
        connackTimeoutMs: 1_000,
        maximumPacketSizeBytes: MAXIMUM_PACKET_BYTES,
        receiveMaximum: RECEIVE_MAXIMUM,
        topicAliasMaximum: 4,
        persistent: this.#is(Bit.persistent),
        ...(this.#is(Bit.authenticates) ? { authentication } : {}),
      },
      platform,
      new MemoryStorage(),
    );
    this.#client.onEnd = (reason) => this.#ends.push(reason);
    this.#slow = this.#client.subscribe("u/#", { qos: 1, bufferSize: BUFFER_MESSAGES, bufferBytes: 4_096, subscriptionIdentifier: 1 });
    void this.#take();
    if (this.#is(Bit.asks)) this.#expect("a request", this.#client.requester("r").request("q", "?"));
  }

  get end(): Failure | undefined {
    return this.#ends[0];
  }

  get over(): boolean {
    return this.#attemptOver || this.#ends.length > 0;
  }

  /** Messages of every level under way, the broker's acknowledgements still to come. */
  async connect(): Promise<void> {
    for (const qos of [1, 2, 2] as const) this.#publish("t", qos);
    this.#client.connect(this.#broker.dial).catch((error: unknown) => {
      promise(error instanceof ConnectError, `the attempt failed with ${String(error)}`);
      this.#attemptOver = true;
      this.#ends.push(error.failure);
    });
    await this.time.pass(0);
    if (this.#is(Bit.fromTheStart)) return;
    const properties = this.#is(Bit.authenticates) && this.#version === 5 ? { properties: { authenticationMethod: "M" } } : {};
    await this.#broker.connack({ sessionPresent: this.#is(Bit.sessionPresent), ...properties });
    for (const qos of [0, 1] as const) this.#publish("u/x", qos);
    if (this.#is(Bit.rearranges)) {
      this.#expect("a confirmation", this.#client.confirm("t"));
      this.#expect("an unsubscription", this.#client.unsubscribe("u/#"));
      this.#expect("a new authentication", this.#client.reauthenticate());
    }
    await this.time.pass(0);
  }

  async hear(piece: Uint8Array): Promise<void> {
    this.#broker.wire?.toClient(piece);
    // Throws what the client throws at its link, and what the broker's parser says of the client's answers.
    await this.time.pass(0);
  }

  check(inputBytes: number): void {
    promise(this.#ends.length <= 1, `ended ${this.#ends.length} times: ${this.#ends.map(({ code }) => code).join(", ")}`);
    promise(this.#complaints.length === 0, `the log says: ${this.#complaints.join("; ")}`);
    const published = PUBLISHED + (this.#is(Bit.asks) ? 1 : 0);
    promise(
      this.#client.pending.messages <= published,
      `${this.#client.pending.messages} messages are pending, ${published} were published`,
    );
    const most = BUFFER_MESSAGES + (this.#version === 5 ? RECEIVE_MAXIMUM : RECEIVE_MAXIMUM_3_1_1);
    promise(this.#slow.buffered <= most, `${this.#slow.buffered} messages wait for a slow application, at most ${most} may`);
    promise(this.time.timers <= MOST_TIMERS, `${this.time.timers} timers are set`);
    const written = this.#broker.wire?.written.reduce((sum, piece) => sum + piece.length, 0) ?? 0;
    promise(written <= 4 * inputBytes + 2_000, `${written} bytes were sent in answer to ${inputBytes}`);
    this.#checkFarewell();
  }

  /** A broken packet is answered by a DISCONNECT with its reason in 5.0, and by nothing after that. */
  #checkFarewell(): void {
    const { end } = this;
    if (end === undefined || end.message.startsWith("the broker disconnected") || end.message.startsWith("the broker refused")) return;
    promise(end.reasonCode !== 0x83, `a packet could not be handled: ${end.message}`);
    const reason = REASONS[end.code];
    if (reason === undefined) return;
    promise(end.reasonCode === reason, `${end.code} with reason code ${String(end.reasonCode)}`);
    if (this.#version === 4 || this.#attemptOver) return;
    const last = this.#broker.received.at(-1);
    promise(
      last?.cmd === "disconnect" && last["reasonCode"] === reason,
      `ended with ${end.code}, and the last packet was ${JSON.stringify(last)}`,
    );
  }

  /** The next broker is an honest one: the client connects, gets rid of what it still has, and keeps to the protocol. */
  async workOn(): Promise<void> {
    if (!this.over) this.#broker.wire?.cut();
    await this.time.pass(6_000);
    const honest = new ModelBroker(library, this.time, this.#version);
    // The model knows no enhanced authentication; an option given as undefined is one not given.
    this.#client.configure({ keepAliveSeconds: 0, ...({ authentication: undefined } as object) });
    this.#client.connect(honest.dial).catch(() => undefined);
    await this.time.pass(5);
    promise(this.#client.connected, "the client does not connect again");
    honest.publish("t", "back", 2);
    await this.time.pass(50);
    promise(honest.violations.length === 0, `towards the next broker: ${honest.violations.join("; ")}`);
    promise(this.#client.pending.messages === 0, `${this.#client.pending.messages} messages are still pending`);
    promise(honest.undelivered === 0, "a message of the next broker is not acknowledged");
    this.#expect("a disconnect", this.#client.disconnect());
    // Longer than a request may take.
    await this.time.pass(40_000);
    promise(!this.#client.connected, "the client is connected after its disconnect");
    promise(this.#asked.size === 0, `nothing ever came of ${[...this.#asked.values()].join(", ")}`);
  }

  async #take(): Promise<void> {
    try {
      for await (const message of this.#client.subscribe("t", { qos: 2 }))
        promise(message.payload.length <= MAXIMUM_PACKET_BYTES, "a message is too large");
    } catch (error) {
      promise(error instanceof HawserError, `the subscription failed with ${String(error)}`);
    }
  }

  #publish(topic: string, qos: 0 | 1 | 2): void {
    this.#expect(`a message at QoS ${qos}`, this.#client.publish(topic, "x", { qos }));
  }

  /** It settles sooner or later, and where it fails, it fails typed. */
  #expect(what: string, outcome: Promise<unknown>): void {
    this.#asked.set(outcome, what);
    const settled = (): void => void this.#asked.delete(outcome);
    outcome.then(settled, (error: unknown) => {
      settled();
      promise(error instanceof HawserError, `${what} failed with ${String(error)}`);
    });
  }

  #is(bit: number): boolean {
    return (this.flags & bit) !== 0;
  }
}
