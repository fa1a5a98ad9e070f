import { beforeEach, describe, expect, it } from "vitest";
import { FrameReader } from "../../../sdk/mqtt/codec/frame-reader.js";
import type { InboundPacket, OutboundPacket } from "../../../sdk/mqtt/codec/packet-types.js";
import { encode } from "../../../sdk/mqtt/codec/packet-encoder.js";
import { VirtualAuthority } from "../pki/virtual-authority.js";
import { publicKeyOf } from "../pki/world-certificates.js";
import { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { drainByTurns, VirtualTime } from "../time/virtual-time.js";
import { BrokerAccess } from "./access.js";
import { DEFAULT_LIMITS, type BrokerLimits } from "./broker-settings.js";
import { VirtualBroker } from "./virtual-broker.js";

const bytes = (text: string): Uint8Array => Uint8Array.from([...text].map((character) => character.charCodeAt(0)));

class Scene {
  readonly time = new VirtualTime(drainByTurns, (error) => {
    throw error;
  });
  readonly seen: string[] = [];
  readonly broker: VirtualBroker;

  constructor(limits: Partial<BrokerLimits> = {}) {
    const nowMs = (): number => WORLD_BEGINS_MS + this.time.nowMs;
    const authority = new VirtualAuthority(nowMs, new SeededRandom("ca"), 86_400_000);
    const access = new BrokerAccess(authority, nowMs);
    const note =
      (what: string) =>
      (...args: unknown[]) =>
        void this.seen.push([what, ...args.map(short)].join(" "));
    const observer = {
      accepted: note("accepted"),
      granted: note("granted"),
      heard: () => undefined,
      silent: note("silent"),
      arrived: note("arrived"),
      refused: note("refused"),
      hungUp: () => undefined,
      taken: note("taken"),
      gaveUp: note("gave up"),
      sessionLost: note("session lost"),
      misbehaved: note("misbehaved"),
    };
    const certificate = { root: authority.root, names: ["broker"], notBeforeMs: 0, notAfterMs: Infinity };
    this.broker = new VirtualBroker(this.time, access, { ...DEFAULT_LIMITS, ...limits }, observer, certificate, "TLSv1.3");
    this.chain = authority.chainOf(authority.issue("dev", publicKeyOf("dev")));
  }

  private readonly chain: Uint8Array[];

  client(version: 4 | 5 = 5): Client {
    return new Client(this, version, this.chain);
  }
}

function short(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(short).join()}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const fields = value as { kind?: string; topic?: string; payload?: Uint8Array };
  return fields.kind ?? `${fields.topic}=${String.fromCharCode(...(fields.payload ?? []))}`;
}

class Client {
  readonly got: InboundPacket[] = [];
  closed = false;
  readonly #reader: FrameReader;
  readonly #handlers: { data(bytes: Uint8Array): void; ended(): void };

  constructor(
    scene: Scene,
    private readonly version: 4 | 5,
    chain: Uint8Array[],
  ) {
    this.#reader = new FrameReader(version, 1_000_000, { packet: (packet) => void this.got.push(packet) });
    const close = (): void => void (this.closed = true);
    this.#handlers = scene.broker.mtls.accept(
      { write: (data) => this.#reader.feed(data), close, reset: close },
      { kind: "certificate", chain },
    );
  }

  send(...packets: OutboundPacket[]): this {
    for (const packet of packets) this.#handlers.data(encode(packet, this.version));
    return this;
  }

  connect(clean = false, sessionExpiryInterval = 3_600): this {
    const properties = this.version === 5 ? { properties: { sessionExpiryInterval } } : {};
    return this.send({ cmd: "connect", protocolVersion: this.version, clientId: "dev", clean, keepalive: 60, ...properties });
  }

  subscribe(filter: string, qos: 0 | 1 | 2): this {
    return this.send({ cmd: "subscribe", messageId: 1_000, subscriptions: [{ topic: filter, qos }] });
  }

  vanish(): void {
    this.#handlers.ended();
  }

  /** What came since the last time, in short. */
  take(): string[] {
    return this.got.splice(0).map((packet) => {
      if (packet.cmd === "publish")
        return `publish ${packet.messageId} ${String.fromCharCode(...packet.payload)}${packet.dup ? " dup" : ""}`;
      if (packet.cmd === "connack") return `connack ${packet.sessionPresent ? "present" : "new"} ${packet.reasonCode}`;
      if ("granted" in packet) return `${packet.cmd} ${packet.granted.join()}`;
      return [packet.cmd, "messageId" in packet ? packet.messageId : "", "reasonCode" in packet ? packet.reasonCode : ""]
        .join(" ")
        .trimEnd();
    });
  }
}

const publish = (messageId: number, qos: 0 | 1 | 2, text: string, dup = false): OutboundPacket => ({
  cmd: "publish",
  topic: "devices/dev/up/x",
  payload: bytes(text),
  qos,
  retain: false,
  dup,
  messageId,
});

describe("the model broker", () => {
  let scene: Scene;
  beforeEach(() => (scene = new Scene()));

  it("passes each QoS 2 message on once, however often it comes", () => {
    scene
      .client()
      .connect()
      .send(publish(1, 2, "a"))
      .vanish();
    const again = scene.client().connect();
    again.send(publish(1, 2, "a", true), { cmd: "pubrel", messageId: 1, reasonCode: 0 }, publish(1, 2, "b"));
    expect(again.take()).toEqual(["connack present 0", "pubrec 1 0", "pubcomp 1 0", "pubrec 1 0"]);
    expect(scene.seen.filter((line) => line.startsWith("arrived"))).toEqual([
      "arrived dev devices/dev/up/x=a",
      "arrived dev devices/dev/up/x=b",
    ]);
  });

  it("keeps messages for a client that is away, and sends again what it did not finish", () => {
    const first = scene.client().connect().subscribe("devices/dev/down/#", 2);
    scene.broker.publish("devices/dev/down/x", bytes("1"), 1);
    scene.broker.publish("devices/dev/down/x", bytes("2"), 2);
    first.send({ cmd: "pubrec", messageId: 2, reasonCode: 0 });
    expect(first.take()).toEqual(["connack new 0", "suback 2", "publish 1 1", "publish 2 2", "pubrel 2 0"]);
    first.vanish();
    scene.broker.publish("devices/dev/down/x", bytes("3"), 1);
    const second = scene.client().connect();
    second.send({ cmd: "puback", messageId: 1, reasonCode: 0 }, { cmd: "pubcomp", messageId: 2, reasonCode: 0 });
    expect(second.take()).toEqual(["connack present 0", "publish 1 1 dup", "pubrel 2 0", "publish 3 3"]);
    expect(scene.seen.filter((line) => line.startsWith("taken"))).toEqual([
      "taken dev devices/dev/down/x=2",
      "taken dev devices/dev/down/x=1",
    ]);
    expect(scene.broker.backlog("dev")).toBe(1);
  });

  it("forgets a session when its time is over, and tells what is lost with it", async () => {
    const client = scene.client().connect(false, 60).subscribe("devices/dev/down/#", 1);
    client.send(publish(9, 2, "half"));
    client.vanish();
    scene.broker.publish("devices/dev/down/x", bytes("1"), 1);
    await scene.time.run(61_000);
    expect(scene.seen.slice(-2)).toEqual(["session lost dev [devices/dev/up/x=half]", "gave up dev devices/dev/down/x=1"]);
    expect(scene.client().connect().take()).toEqual(["connack new 0"]);
  });

  it("takes a session over for a second connection", () => {
    const first = scene.client().connect();
    scene.client().connect();
    expect(first.take()).toEqual(["connack new 0", "disconnect  142"]);
    expect(first.closed).toBe(true);
  });

  it("ends a connection that is silent for one and a half keep-alive intervals", async () => {
    const client = scene.client().connect();
    await scene.time.run(60_000);
    client.send({ cmd: "pingreq" });
    await scene.time.run(149_000);
    expect(client.closed).toBe(false);
    await scene.time.run(151_000);
    expect(client.take()).toEqual(["connack new 0", "pingresp", "disconnect  141"]);
    expect(scene.seen.at(-1)).toBe("silent dev");
  });

  it("acknowledges and drops what is denied in 3.1.1, and says so in 5.0", () => {
    scene.broker.access.denied.add("dev");
    const old = scene
      .client(4)
      .connect(true)
      .send(publish(1, 1, "a"))
      .subscribe("devices/dev/down/#", 1);
    expect(old.take()).toEqual(["connack new 0", "puback 1 0", "suback 128"]);
    const modern = scene
      .client()
      .connect(true)
      .send(publish(1, 1, "a"), publish(2, 2, "b"))
      .subscribe("devices/dev/down/#", 1);
    expect(modern.take()).toEqual(["connack new 0", "puback 1 135", "pubrec 2 135", "suback 135"]);
    expect(scene.seen.some((line) => line.startsWith("arrived"))).toBe(false);
  });

  it("restarts with its memory or without", () => {
    scene.client().connect();
    scene.broker.stop("keeps");
    scene.broker.start();
    expect(scene.client().connect().take()).toEqual(["connack present 0"]);
    scene.broker.stop("forgets");
    expect(scene.broker.mtls.up).toBe(false);
    scene.broker.start();
    expect(scene.client().connect().take()).toEqual(["connack new 0"]);
  });

  const FAULTS: readonly [string, Partial<BrokerLimits>, (client: Client) => void, string][] = [
    ["a packet before CONNECT", {}, (client) => client.send({ cmd: "pingreq" }), "pingreq before CONNECT"],
    ["a second CONNECT", {}, (client) => client.connect().connect(), "a second CONNECT"],
    [
      "an identifier sent twice",
      {},
      (client) => client.connect().send(publish(1, 2, "a"), publish(1, 2, "a", true)),
      "packet identifier 1 sent again on one connection, or in use already",
    ],
    [
      "too many unfinished messages",
      { receiveMaximum: 1 },
      (client) => client.connect().send(publish(1, 2, "a"), publish(2, 2, "b")),
      "2 messages where 1 may be unfinished",
    ],
    [
      "a packet that is too large",
      { maximumPacketBytes: 100 },
      (client) => client.connect().send(publish(1, 1, "x".repeat(200))),
      "a packet of 224 bytes",
    ],
    [
      "an acknowledgement for nothing",
      {},
      (client) => client.connect().send({ cmd: "puback", messageId: 5, reasonCode: 0 }),
      "puback for packet identifier 5, which waits for nothing",
    ],
    [
      "a topic alias that was never set",
      {},
      (client) => client.connect().send({ ...publish(1, 1, "a"), topic: "", properties: { topicAlias: 1 } } as OutboundPacket),
      "topic alias 1 that was never set",
    ],
    [
      "QoS 2 where 1 is the highest",
      { maximumQos: 1 },
      (client) => client.connect().send(publish(1, 2, "a")),
      "QoS 2 where 1 is the highest",
    ],
  ];

  for (const [name, limits, act, what] of FAULTS) {
    it(`notices ${name}`, () => {
      const strict = new Scene(limits);
      act(strict.client());
      expect(strict.seen.filter((line) => line.startsWith("misbehaved")).map((line) => line.replace(/^misbehaved (dev)? ?/, ""))).toEqual([
        what,
      ]);
    });
  }

  it("notices an identifier that is used anew while its message is not released", () => {
    scene
      .client()
      .connect()
      .send(publish(1, 2, "a"))
      .vanish();
    scene
      .client()
      .connect()
      .send(publish(1, 2, "b"));
    expect(scene.seen.at(-1)).toBe("misbehaved dev packet identifier 1 for a new message before its PUBREL");
  });
});
