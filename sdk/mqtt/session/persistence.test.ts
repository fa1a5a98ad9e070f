import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { MqttClient, type MqttOptions, type QoS } from "../index.js";
import { ManualTime, testPlatform } from "../../../test/support/mqtt/manual-time.js";
import { MemoryStorage } from "../../../test/support/mqtt/memory-storage.js";
import { ModelBroker } from "../../../test/support/mqtt/model-broker.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;
const persistent: Partial<MqttOptions> = { persistent: true };

/** A device whose power fails at chosen writes, and a broker with a session for it. */
class Device {
  readonly time = new ManualTime();
  readonly broker: ModelBroker;
  storage = new MemoryStorage();
  client: MqttClient;
  /** What `publish` accepted, and what it was asked for. */
  readonly accepted: string[] = [];
  /** What the application took, one list a life; the last of a list may have been under way when power failed. */
  readonly lives: string[][] = [];
  /** Writes of each life. */
  readonly writes: number[] = [];
  #isOn = false;
  #hasDied = false;

  constructor(
    private readonly version: 4 | 5,
    private readonly cuts: number[],
  ) {
    this.broker = new ModelBroker(library, this.time, version);
    this.client = this.#boot();
  }

  #boot(): MqttClient {
    this.storage = this.storage.afterReboot();
    const { storage } = this;
    storage.writesBeforeCut = this.cuts[this.lives.length] ?? Infinity;
    storage.onCut = () => {
      if (storage !== this.storage) return;
      this.#hasDied = true;
      this.broker.powerOff();
    };
    const life: string[] = [];
    this.lives.push(life);
    const options: MqttOptions = {
      clientId: "d",
      protocolVersion: this.version,
      cleanStart: false,
      keepAliveSeconds: 30,
      connackTimeoutMs: 1_000,
      persistent: true,
      inFlightWindow: 3,
      sessionExpirySeconds: 1_000,
    };
    let client: MqttClient;
    try {
      client = new MqttClient(options, testPlatform(this.time), storage);
    } catch (error) {
      // Power failed while the storage was tidied up.
      if (!this.#hasDied) throw error;
      this.#hasDied = false;
      return this.#boot();
    }
    void (async () => {
      for await (const message of client.subscribe("in", { qos: 2 })) {
        if (storage === this.storage && !this.#hasDied) life.push(message.text());
      }
    })();
    client.onEnd = () => (this.#isOn = false);
    return client;
  }

  publish(payload: string, qos: QoS): void {
    const { storage } = this;
    this.client.publish("out", payload, { qos, queue: true }).then(
      () => storage === this.storage && !this.#hasDied && this.accepted.push(payload),
      () => undefined,
    );
  }

  async connect(): Promise<void> {
    if (this.#isOn || this.client.connected) return;
    this.client.connect(this.broker.dial).then(
      () => (this.#isOn = true),
      () => undefined,
    );
    await this.time.pass(3);
  }

  /** Some time, and a reboot when power failed meanwhile. */
  async pass(durationMs: number): Promise<void> {
    await this.time.pass(durationMs);
    if (!this.#hasDied) return;
    this.writes.push(this.storage.writes);
    this.#hasDied = false;
    this.#isOn = false;
    this.client = this.#boot();
    await this.connect();
  }

  async settleDown(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      const { client } = this;
      await this.connect();
      await this.pass(2_000);
      if (client === this.client && client.connected && client.pending.messages === 0 && this.broker.undelivered === 0) break;
    }
    this.writes.push(this.storage.writes);
  }
}

/** A day in the life: messages of both levels both ways, before, during and after connections that break at bad moments. */
async function story(device: Device): Promise<string[]> {
  const sent: string[] = [];
  const publish = (payload: string, qos: QoS): void => {
    sent.push(payload);
    device.publish(payload, qos);
  };
  publish("q2-offline", 2);
  publish("q1-offline", 1);
  publish(`q1-large-${"x".repeat(9_000)}`, 1);
  await device.pass(0);
  await device.connect();
  await device.pass(1);
  device.broker.publish("in", "in-1", 2);
  device.broker.publish("in", "in-2", 1);
  await device.pass(2);
  publish("q2-cut", 2);
  await device.pass(2);
  device.broker.cut();
  await device.pass(1);
  publish(`q2-large-${"y".repeat(5_000)}`, 2);
  await device.connect();
  device.broker.publish("in", "in-3", 2);
  await device.pass(3);
  device.broker.cut();
  await device.connect();
  await device.pass(5);
  publish("q2-last", 2);
  publish("q1-last", 1);
  device.broker.publish("in", "in-4", 2);
  await device.settleDown();
  return sent;
}

function check(device: Device, sent: readonly string[]): void {
  const { broker, accepted, lives } = device;
  expect(broker.violations).toEqual([]);
  const times = (list: readonly string[], payload: string): number => list.filter((other) => other === payload).length;
  for (const payload of accepted) expect(broker.delivered, "an accepted message is lost").toContain(payload);
  for (const payload of sent)
    if (payload.startsWith("q2")) expect(times(broker.delivered, payload), `${payload.slice(0, 12)} doubled`).toBeLessThanOrEqual(1);
  const taken = lives.flat();
  for (const payload of ["in-1", "in-3", "in-4"]) {
    const before = lives.slice(0, -1).filter((life) => life.at(-1) === payload).length;
    expect(taken, "a message from the broker is lost").toContain(payload);
    expect(times(taken, payload), `${payload} doubled`).toBeLessThanOrEqual(1 + before);
  }
  expect(taken).toContain("in-2");
  expect(device.storage.list("mq-o")).toEqual([]);
  expect(device.storage.get("mq-rx")).toBeUndefined();
  expect(device.client.pending).toEqual({ messages: 0, bytes: 0, inFlight: 0 });
}

describe.each([4, 5] as const)("power fails, in protocol version %i", (version) => {
  test("never: everything arrives, and the storage is empty after", async () => {
    const device = new Device(version, []);
    const sent = await story(device);
    expect(device.accepted).toEqual(sent);
    expect(device.lives).toEqual([["in-1", "in-2", "in-3", "in-4"]]);
    check(device, sent);
  });

  test("at every single write: no accepted message is lost, no QoS 2 message comes twice", async () => {
    const whole = new Device(version, []);
    await story(whole);
    const [writes = 0] = whole.writes;
    expect(writes).toBeGreaterThan(20);
    for (let cut = 0; cut < writes; cut++) {
      const device = new Device(version, [cut]);
      check(device, await story(device));
      expect(device.lives.length).toBe(2);
    }
  });
});

test("power fails at every pair of writes: still nothing is lost or doubled", async () => {
  const whole = new Device(5, []);
  await story(whole);
  const [writes = 0] = whole.writes;
  for (let first = 0; first < writes; first++) {
    for (let second = 0; second < 60; second++) {
      const device = new Device(5, [first, second]);
      check(device, await story(device));
      if (device.lives.length < 3) break;
    }
  }
});

test("random traffic, lost connections, lost sessions and power cuts: what was promised holds", async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("publish" as const), qos: fc.constantFrom<QoS>(1, 2) }),
    fc.record({ do: fc.constant("receive" as const), qos: fc.constantFrom<QoS>(1, 2) }),
    fc.record({ do: fc.constant("cut" as const) }),
    fc.record({ do: fc.constant("connect" as const) }),
    fc.record({ do: fc.constant("forget" as const) }),
    fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 4 }) }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.array(fc.nat(30), { maxLength: 4 }),
      fc.constantFrom<4 | 5>(4, 5),
      async (steps, cuts, version) => {
        const device = new Device(version, cuts);
        const sent: string[] = [];
        let incoming = 0;
        await device.connect();
        for (const one of steps) {
          if (one.do === "publish") {
            sent.push(`q${one.qos}-${sent.length}`);
            device.publish(sent.at(-1) as string, one.qos);
          } else if (one.do === "receive") device.broker.publish("in", `in-${incoming++}`, one.qos);
          else if (one.do === "cut") device.broker.cut();
          else if (one.do === "connect") await device.connect();
          else if (one.do === "forget") device.broker.forget();
          else await device.pass(one.ms);
          await device.pass(0);
        }
        await device.settleDown();
        expect(device.broker.violations).toEqual([]);
        for (const payload of device.accepted) expect(device.broker.delivered).toContain(payload);
        // A broker that loses a session loses the identifiers by which it would know a repetition.
        const hasForgotten = steps.some((one) => one.do === "forget");
        for (const payload of sent) {
          if (payload.startsWith("q2") && !hasForgotten)
            expect(device.broker.delivered.filter((other) => other === payload).length).toBeLessThanOrEqual(1);
        }
        // First deliveries of each level keep their order.
        for (const level of ["q1", "q2"]) {
          const firsts = [...new Set(device.broker.delivered.filter((payload) => payload.startsWith(level)))];
          expect(firsts).toEqual(sent.filter((payload) => firsts.includes(payload)));
        }
        expect(device.client.pending.messages).toBe(0);
        // What became of a message is not known where the broker lost the session after PUBREC: those, and no others, are kept to be read.
        const kept = device.client.outbox();
        expect(kept.filter(({ state, qos }) => state !== "uncertain" || qos !== 2 || !hasForgotten)).toEqual([]);
        expect(device.storage.list("mq-o")).toHaveLength(kept.length);
      },
    ),
    { numRuns: 150 },
  );
});

describe("the records", () => {
  test("a QoS 1 message costs one put and one delete, QoS 2 one put more, and the client's name one once", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    await w.connect();
    for (const [n, qos] of [
      [1, 1],
      [2, 1],
      [3, 2],
    ] as const) {
      void w.client.publish("t", "x", { qos });
      await w.time.pass(0);
      await w.broker.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: n, reasonCode: 0 });
    }
    await w.broker.send({ cmd: "pubcomp", messageId: 3, reasonCode: 0 });
    expect(w.client.storageWear).toMatchObject({ puts: 1 + 4, deletes: 3 });
    expect(storage.writes).toBe(8);
    expect([...storage.records.keys()]).toEqual(["mq-id"]);
  });

  test("QoS 0 is not stored, nor QoS 1 with `persist: false`", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    await w.client.publish("t", "x", { qos: 0, queue: true });
    await w.client.publish("t", "x", { qos: 1, queue: true, persist: false });
    expect(storage.writes).toBe(0);
    expect(new SessionWorld(library).client.storageWear).toBeUndefined();
  });

  test("a received QoS 2 message costs one put, and a burst of their ends shares one more", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    void (async () => {
      for await (const message of w.client.subscribe("t", { qos: 2 })) message.text();
    })();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [2] });
    storage.writes = 0;
    await w.broker.send(...Array.from({ length: 20 }, (_, n) => ({ cmd: "publish", topic: "t", payload: "x", qos: 2, messageId: n + 1 })));
    await w.broker.send(...Array.from({ length: 20 }, (_, n) => ({ cmd: "pubrel", messageId: n + 1, reasonCode: 0 })));
    expect(w.broker.of("pubcomp")).toHaveLength(20);
    expect(storage.writes).toBe(1 + 20 + 1);
  });

  test("the messages stored in an hour are bounded where that is wanted", async () => {
    const w = new SessionWorld(library, { ...persistent, maxStoredPerHour: 2 }, new MemoryStorage());
    const publish = (): Promise<unknown> => w.client.publish("t", "x", { qos: 1, queue: true });
    await publish();
    await publish();
    await expect(publish()).rejects.toMatchObject({ code: "STORAGE_WEAR_LIMIT" });
    await w.time.pass(3_600_000);
    await publish();
    expect(w.client.pending.messages).toBe(3);
  });

  test("a full storage refuses the message and changes nothing", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    storage.isFull = true;
    await expect(w.client.publish("t", "x", { qos: 1, queue: true })).rejects.toMatchObject({ code: "STORAGE_FULL" });
    expect(w.client.pending.messages).toBe(0);
    storage.isFull = false;
    await w.client.publish("t", "y", { qos: 1, queue: true });
    await w.connect();
    expect(w.broker.of("publish")).toHaveLength(1);
  });

  test("a message that finds room in part only leaves none of it behind", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    storage.roomBytes = 10_000;
    await expect(w.client.publish("t", "x".repeat(15_000), { qos: 1, queue: true })).rejects.toMatchObject({ code: "STORAGE_FULL" });
    expect([...storage.records.keys()]).toEqual(["mq-id"]);
    for (let n = 0; n < 3; n++) await w.client.publish("t", "x".repeat(3_000), { qos: 1, queue: true });
  });

  test("a message too large for 255 records is refused", async () => {
    const w = new SessionWorld(
      library,
      { ...persistent, outbox: { maxMessages: 5, maxBytes: 5_000_000, overflow: "reject" } },
      new MemoryStorage(),
    );
    await expect(w.client.publish("t", "x".repeat(1_100_000), { qos: 1 })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
  });

  test("while the storage fails, PUBREC and PUBREL wait, and go out when it works again", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    void (async () => {
      for await (const message of w.client.subscribe("t", { qos: 2 })) message.text();
    })();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [2] });
    const published = watch(w.client.publish("t", "x", { qos: 2 }));
    await w.time.pass(0);
    storage.isFull = true;
    await w.broker.send({ cmd: "pubrec", messageId: 2, reasonCode: 0 }, { cmd: "publish", topic: "t", payload: "x", qos: 2, messageId: 5 });
    await w.time.pass(5_000);
    expect([w.broker.of("pubrel"), w.broker.of("pubrec")]).toEqual([[], []]);
    await w.cut();
    await w.connect({ sessionPresent: true });
    // mosquitto says it again.
    await w.broker.send({ cmd: "pubrec", messageId: 2, reasonCode: 0 });
    expect(w.broker.of("pubrel")).toEqual([]);
    storage.isFull = false;
    await w.time.pass(1_000);
    expect(w.broker.of("pubrel")).toMatchObject([{ messageId: 2 }]);
    await w.broker.send(
      { cmd: "publish", topic: "t", payload: "x", qos: 2, messageId: 5, dup: true },
      { cmd: "pubcomp", messageId: 2, reasonCode: 0 },
    );
    expect([w.broker.of("pubrec").length, published.state]).toEqual([1, "resolved"]);
  });

  test("an expiry goes on over a reboot where the clock is trusted, and begins again where it is not", async () => {
    for (const [isTrusted, expected] of [
      [true, 40],
      [false, 60],
    ] as const) {
      const storage = new MemoryStorage();
      const w = new SessionWorld(library, persistent, storage);
      w.time.isTrusted = isTrusted;
      await w.client.publish("t", "x", { qos: 1, queue: true, properties: { messageExpiryInterval: 60 } });
      const later = new ManualTime();
      later.isTrusted = isTrusted;
      later.wallOffsetMs += 20_000;
      const after = new SessionWorld(library, persistent, storage.afterReboot(), later);
      await after.connect();
      expect(after.broker.of("publish")).toMatchObject([{ properties: { messageExpiryInterval: expected } }]);
    }
  });

  test("everything of a message survives a reboot", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    const properties = {
      contentType: "c",
      correlationData: Uint8Array.of(1, 2),
      responseTopic: "r",
      payloadFormatIndicator: true,
      userProperties: [
        ["b", "1"],
        ["a", "2"],
      ] as const,
    };
    await w.client.publish(
      "t/ü",
      Uint8Array.from({ length: 9_000 }, (_, n) => n),
      { qos: 2, retain: true, queue: true, properties },
    );
    expect([...storage.records.keys()].filter((key) => key.startsWith("mq-o")).sort()).toEqual([
      "mq-o00000000",
      "mq-o00000000-01",
      "mq-o00000000-02",
    ]);
    const after = new SessionWorld(library, persistent, storage.afterReboot());
    await after.connect({ sessionPresent: true });
    expect(after.broker.of("publish")).toMatchObject([
      {
        topic: "t/ü",
        qos: 2,
        retain: true,
        dup: true,
        messageId: 1,
        payload: Buffer.from(Uint8Array.from({ length: 9_000 }, (_, n) => n)),
        properties: { contentType: "c", responseTopic: "r", userProperties: { b: "1", a: "2" } },
      },
    ]);
  });

  test("identifiers go on behind those restored, and a new session begins without DUP", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    for (const payload of ["a", "b"]) await w.client.publish("t", payload, { qos: 1, queue: true });
    const after = new SessionWorld(library, persistent, storage.afterReboot());
    void after.client.publish("t", "c", { qos: 1 });
    await after.connect({ sessionPresent: false });
    expect(after.broker.of("publish").map(({ messageId, dup, payload }) => [messageId, dup, String(payload)])).toEqual([
      [1, false, "a"],
      [2, false, "b"],
      [3, false, "c"],
    ]);
  });

  test("the state of another client identifier is not taken for this one's", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    await w.connect();
    void w.client.publish("t", "released", { qos: 2 });
    void w.client.publish("t", "kept", { qos: 1 });
    await w.time.pass(0);
    await w.broker.send({ cmd: "pubrec", messageId: 1, reasonCode: 0 });
    storage.put("mq-rx", Uint8Array.of(1, 0, 9));
    const others = storage.afterReboot();
    const other = new SessionWorld(library, { ...persistent, clientId: "other" }, others);
    await other.connect({ sessionPresent: true });
    expect(other.broker.received.slice(1)).toMatchObject([{ cmd: "publish", dup: false, messageId: 2 }]);
    void other.client.publish("t", "claims the storage", { qos: 1 });
    const again = new SessionWorld(library, { ...persistent, clientId: "other" }, others.afterReboot());
    await again.connect({ sessionPresent: true });
    await again.broker.send({ cmd: "publish", topic: "t", payload: "x", qos: 2, messageId: 9 });
    await again.time.pass(10_000);
    expect(again.dropped).toEqual(["t NO_SUBSCRIPTION"]);
  });

  test("what storage finishes late is not said on a later connection", async () => {
    const storage = new MemoryStorage();
    const w = new SessionWorld(library, persistent, storage);
    void (async () => {
      for await (const message of w.client.subscribe("t", { qos: 2 })) message.text();
    })();
    await w.connect();
    await w.broker.send({ cmd: "suback", messageId: 1, granted: [2] }, { cmd: "publish", topic: "t", payload: "x", qos: 2, messageId: 5 });
    storage.isFull = true;
    await w.broker.send({ cmd: "pubrel", messageId: 5, reasonCode: 0 });
    await w.cut();
    await w.connect({ sessionPresent: true });
    storage.isFull = false;
    await w.time.pass(2_000);
    expect(w.broker.of("pubcomp")).toEqual([]);
    await w.broker.send({ cmd: "pubrel", messageId: 5, reasonCode: 0 });
    expect(w.broker.of("pubcomp")).toHaveLength(1);
  });

  test("whatever the records contain, the client starts, and holds no more than they do", async () => {
    const good = new MemoryStorage();
    const w = new SessionWorld(library, persistent, good);
    await w.client.publish("t", "x", { qos: 1, queue: true });
    await w.client.publish("t", "y".repeat(5_000), { qos: 2, queue: true, properties: { contentType: "c" } });
    good.put("mq-rx", Uint8Array.of(1, 0, 5, 0, 9));
    const key = fc.oneof(
      fc.constantFrom(...good.records.keys()),
      fc.constantFrom("mq-o", "mq-oxyz", "mq-o00000007", "mq-o0000000a-01", "mq-rx", "mq-id"),
    );
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(fc.constantFrom(...good.records.values()), fc.nat(4_000), fc.nat(255)).map(([record, at, byte]) => {
        const copy = Uint8Array.from(record);
        copy[at % copy.length] = byte;
        return copy;
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 4 }), async (changes) => {
        const storage = new MemoryStorage([...good.records, ...changes]);
        const damaged = new SessionWorld(library, persistent, storage);
        expect(damaged.client.pending.messages).toBeLessThanOrEqual(2 + changes.length);
        await damaged.connect({ sessionPresent: true });
        expect(damaged.client.connected).toBe(true);
        const ids = damaged.broker.of("publish").map(({ messageId }) => messageId);
        expect(new Set(ids).size).toBe(ids.length);
      }),
      { numRuns: 400 },
    );
  });
});

test("a message that made room while there was no connection is out of storage at once", async () => {
  const storage = new MemoryStorage();
  const w = new SessionWorld(library, { ...persistent, outbox: { maxMessages: 1, maxBytes: 1_000, overflow: "drop-oldest" } }, storage);
  void w.client.publish("t", "first", { qos: 1 }).catch(() => undefined);
  await w.client.publish("t", "second", { qos: 1, queue: true });
  expect([storage.list("mq-o").length, w.dropped.length]).toEqual([1, 1]);
  const next = new SessionWorld(library, persistent, storage.afterReboot());
  await next.connect();
  expect(next.broker.of("publish").map(({ payload }) => String(payload))).toEqual(["second"]);
});
