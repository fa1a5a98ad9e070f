import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BrokerLimits } from "./broker-events.js";
import { EmbeddedBroker } from "./embedded-broker.js";
import { TestBroker, connectPacket, nextMessage, nextPayloads } from "../../test/support/brokers/embedded-test-broker.js";
import type { TestIdentity } from "../../test/support/brokers/test-certificates.js";

let test: TestBroker;
let backendIdentity: TestIdentity;
let deviceIdentity: TestIdentity;
beforeEach(async () => {
  test = await TestBroker.create();
  backendIdentity = await test.authority.issue("backend");
  deviceIdentity = await test.authority.issue("dev1");
});
afterEach(async () => {
  await test.close();
});

const signInBoth = async (): Promise<{ backend: MqttClient; device: MqttClient }> => ({
  backend: await test.signIn(backendIdentity, "backend"),
  device: await test.signIn(deviceIdentity, "dev1"),
});

describe("access rules", () => {
  it.each([0, 1, 2] as const)("drop a denied message of QoS %i, tell of it, and keep the connection", async (qos) => {
    await test.start();
    const { backend, device } = await signInBoth();
    await backend.subscribeAsync("#", { qos: 2 });
    const arrived = nextMessage(backend);
    await device.publishAsync("devices/dev2/up/temperature", "forged", { qos, retain: true });
    await device.publishAsync("devices/dev1/up/temperature", "own", { qos });
    expect(await arrived).toMatchObject({ topic: "devices/dev1/up/temperature", payload: "own", qos });
    expect(test.events.filter(({ type }) => type === "denied")).toEqual([
      { type: "denied", name: "dev1", scope: "full", clientId: "dev1", action: "publish", topic: "devices/dev2/up/temperature" },
    ]);
    expect(test.events.some(({ type }) => type === "disconnected")).toBe(false);
  });

  it.each(["devices/dev2/down/#", "#", "$share/group/devices/dev1/down/#", "$hawser/denied"])(
    "answer a subscription to %s with 0x80",
    async (filter) => {
      await test.start();
      const device = await test.signIn(deviceIdentity, "dev1", { clean: false });
      await expect(device.subscribeAsync(filter, { qos: 1 })).rejects.toThrow();
      expect(await test.event("denied")).toMatchObject({ action: "subscribe", topic: filter });
      await device.publishAsync("devices/dev1/up/x", "still here", { qos: 1 });
    },
  );

  it("queue nothing for a filter that was denied beside a granted one", async () => {
    await test.start();
    const device = await test.signIn(deviceIdentity, "dev1", { clean: false });
    await expect(device.subscribeAsync(["devices/dev1/down/#", "devices/dev2/down/#"], { qos: 1 })).rejects.toThrow();
    await device.endAsync();
    await test.event("disconnected");
    const backend = await test.signIn(backendIdentity, "backend");
    await backend.publishAsync("devices/dev2/down/x", "not for dev1", { qos: 1 });
    await backend.publishAsync("devices/dev1/down/x", "for dev1", { qos: 1 });
    await backend.publishAsync("devices/dev3/down/x", "barrier", { qos: 2 });
    expect(test.broker.persistence.queuedCount("dev1")).toBe(1);
  });

  it("apply to a will", async () => {
    await test.start();
    const { backend } = await signInBoth();
    await backend.subscribeAsync("devices/#", { qos: 1 });
    const forger = await test.authority.issue("dev2");
    const payloads = nextPayloads(backend, 1);
    const withForgedWill = await test.signIn(forger, "dev2", {
      will: { topic: "devices/dev1/up/status", payload: Buffer.from("forged"), qos: 1, retain: false },
    });
    withForgedWill.stream.destroy();
    expect(await test.event("denied")).toMatchObject({ name: "dev2", action: "publish", topic: "devices/dev1/up/status" });
    const withOwnWill = await test.signIn(forger, "dev2", {
      will: { topic: "devices/dev2/up/status", payload: Buffer.from("lost"), qos: 1, retain: false },
    });
    withOwnWill.stream.destroy();
    expect(await payloads).toEqual(["lost"]);
  });

  it("change with a reload, for messages on standing subscriptions too", async () => {
    await test.start();
    const { backend, device } = await signInBoth();
    await device.subscribeAsync("devices/dev1/down/#", { qos: 1 });
    const material = await test.material();
    test.broker.reload({
      ...material,
      authorize: (who, action, topic) => !topic.endsWith("/secret") && material.authorize(who, action, topic),
    });
    const arrived = nextMessage(device);
    await backend.publishAsync("devices/dev1/down/secret", "hidden", { qos: 1 });
    await backend.publishAsync("devices/dev1/down/open", "seen", { qos: 1 });
    expect(await arrived).toMatchObject({ payload: "seen" });
  });
});

describe("delivery", () => {
  it("lowers the QoS to the subscription's, wildcards or not", async () => {
    await test.start();
    const { backend, device } = await signInBoth();
    const other = await test.signIn(backendIdentity, "backend~2", { clean: false });
    await backend.subscribeAsync("devices/+/up/#", { qos: 1 });
    await other.subscribeAsync("devices/dev1/up/x", { qos: 1 });
    const arrived = Promise.all([nextMessage(backend), nextMessage(other)]);
    await device.publishAsync("devices/dev1/up/x", "1", { qos: 2 });
    expect(await arrived).toMatchObject([{ qos: 1 }, { qos: 1 }]);
  });

  it("delivers one copy on overlapping subscriptions", async () => {
    await test.start();
    const device = await test.signIn(deviceIdentity, "dev1");
    const backend = await test.signIn(backendIdentity, "backend", { clean: false });
    await backend.subscribeAsync(["devices/+/up/#", "devices/dev1/#", "devices/dev1/up/x"], { qos: 1 });
    const payloads = nextPayloads(backend, 3);
    for (const payload of ["1", "2", "3"]) await device.publishAsync("devices/dev1/up/x", payload, { qos: 1 });
    expect(await payloads).toEqual(["1", "2", "3"]);
  });

  it("takes the highest QoS of overlapping subscriptions, in whatever order they came", async () => {
    await test.start();
    const device = await test.signIn(deviceIdentity, "dev1");
    for (const filters of [
      ["devices/dev1/#", "devices/+/up/#"],
      ["devices/+/up/#", "devices/dev1/#"],
    ]) {
      const backend = await test.signIn(backendIdentity, "backend", { clean: false });
      await backend.subscribeAsync({ [filters[0]!]: { qos: 0 }, [filters[1]!]: { qos: 1 } });
      const arrived = nextMessage(backend);
      await device.publishAsync("devices/dev1/up/x", "1", { qos: 2 });
      expect(await arrived).toMatchObject({ qos: 1 });
      await expect.poll(() => test.broker.persistence.queuedCount("backend")).toBe(0);
      await backend.unsubscribeAsync(filters);
    }
  });

  it("loses no message behind a retained one", async () => {
    await test.start();
    const { backend, device } = await signInBoth();
    await backend.subscribeAsync("devices/#", { qos: 2 });
    const payloads = nextPayloads(backend, 60);
    const sent = Array.from({ length: 60 }, (_, index) => String(index));
    await Promise.all(sent.map((payload, index) => device.publishAsync("devices/dev1/up/x", payload, { qos: 2, retain: index % 2 === 0 })));
    expect((await payloads).sort()).toEqual(sent.sort());
  });

  it("keeps retained messages and marks them only for new subscriptions", async () => {
    await test.start();
    const { backend, device } = await signInBoth();
    await backend.subscribeAsync("devices/dev1/up/#", { qos: 1 });
    const live = nextMessage(backend);
    await device.publishAsync("devices/dev1/up/status", "on", { qos: 1, retain: true });
    expect(await live).toMatchObject({ payload: "on", retain: false });
    const late = await test.signIn(backendIdentity, "backend~late");
    const kept = nextMessage(late);
    await late.subscribeAsync("devices/#", { qos: 0 });
    expect(await kept).toMatchObject({ payload: "on", retain: true, qos: 0 });
  });
});

describe("sessions", () => {
  /** A backend that went away with a session, and what was published meanwhile. */
  const leaveMessages = async (payloads: readonly string[], qos: 1 | 2): Promise<void> => {
    const backend = await test.signIn(backendIdentity, "backend", { clean: false });
    await backend.subscribeAsync("devices/+/up/#", { qos });
    await backend.endAsync();
    await test.event("disconnected");
    const device = await test.signIn(deviceIdentity, "dev1");
    for (const payload of payloads) await device.publishAsync("devices/dev1/up/x", payload, { qos });
  };

  /** MQTT.js delivers what arrives with the CONNACK at once: listen before. */
  const returnFor = async (count: number): Promise<{ sessionPresent: boolean; payloads: Promise<string[]> }> => {
    let payloads: Promise<string[]> = Promise.resolve([]);
    let sessionPresent = false;
    await test.signIn(backendIdentity, "backend", { clean: false }, (client) => {
      payloads = nextPayloads(client, count);
      client.on("connect", (packet) => (sessionPresent = packet.sessionPresent));
    });
    return { sessionPresent, payloads };
  };

  it.each([1, 2] as const)("keep messages of QoS %i for a client that is away, in order", async (qos) => {
    await test.start();
    const sent = Array.from({ length: 50 }, (_, index) => String(index));
    await leaveMessages(sent, qos);
    expect(test.broker.persistence.queuedCount("backend")).toBe(50);
    const { payloads, sessionPresent } = await returnFor(50);
    expect(await payloads).toEqual(sent);
    expect(sessionPresent).toBe(true);
  });

  it("are reported present for a client without subscriptions", async () => {
    await test.start();
    const first = await returnFor(0);
    expect(first.sessionPresent).toBe(false);
    const second = await returnFor(0);
    expect(second.sessionPresent).toBe(true);
  });

  it("are forgotten with clean session 1", async () => {
    await test.start();
    await leaveMessages(["1"], 1);
    const fresh = await test.signIn(backendIdentity, "backend");
    expect(test.broker.persistence.sessionCount).toBe(0);
    await fresh.publishAsync("devices/dev1/down/x", "", { qos: 1 });
    expect(test.broker.persistence.queuedCount("backend")).toBe(0);
  });

  it("drop the newest with an event when their queue is full", async () => {
    await test.start({ maxQueuedMessages: 2 });
    await leaveMessages(["1", "2", "3"], 1);
    expect(await test.event("dropped")).toEqual({ type: "dropped", clientId: "backend", topic: "devices/dev1/up/x", reason: "QUEUE_FULL" });
    expect(await (await returnFor(2)).payloads).toEqual(["1", "2"]);
  });

  it("hold no more than their limit", async () => {
    await test.start({ maxSessions: 1 });
    await test.signIn(backendIdentity, "backend", { clean: false });
    await expect(test.signIn(deviceIdentity, "dev1", { clean: false })).rejects.toMatchObject({ code: 3 });
    expect(await test.event("refused")).toMatchObject({ reason: "TOO_MANY_SESSIONS" });
    await test.signIn(backendIdentity, "backend", { clean: false });
    await test.signIn(deviceIdentity, "dev1");
  });

  it("keep for the certificate what the recovery scope may not have", async () => {
    const key = randomBytes(32);
    test.psks.set("dev1", key);
    await test.start();
    const device = await test.signIn(deviceIdentity, "dev1", { clean: false });
    await device.subscribeAsync("devices/dev1/down/#", { qos: 1 });
    await device.endAsync();
    await test.event("disconnected");
    const backend = await test.signIn(backendIdentity, "backend");
    await backend.publishAsync("devices/dev1/down/x", "command", { qos: 1 });
    const recovering = await test.signInByPsk("dev1", key, "dev1", {}, { clean: false });
    const nothing: string[] = [];
    recovering.on("message", (topic) => nothing.push(topic));
    await recovering.publishAsync("devices/dev1/identity/request", "csr", { qos: 2 });
    expect(nothing).toEqual([]);
    const arrived: string[] = [];
    await test.signIn(deviceIdentity, "dev1", { clean: false }, (client) =>
      client.on("message", (_topic, payload) => arrived.push(payload.toString())),
    );
    await test.event("disconnected", ({ scope }) => scope === "recovery");
    await expect.poll(() => arrived).toEqual(["command"]);
  });
});

describe("a broker that is killed", () => {
  const restart = async (limits: Partial<BrokerLimits> = {}): Promise<void> => {
    const { persistence } = test.broker;
    const { mtlsPort, pskPort } = test;
    await test.broker.kill();
    await test.start(limits, { persistence, mtlsPort, pskPort });
  };

  it("destroys every connection, says no wills, and frees its ports", async () => {
    await test.start();
    const { backend } = await signInBoth();
    const closed = new Promise<void>((resolve) => backend.once("close", () => resolve()));
    const inHandshake = connect(test.mtlsPort, "127.0.0.1").on("error", () => undefined);
    const alsoClosed = new Promise((resolve) => inHandshake.once("close", resolve));
    await once(inHandshake, "connect");
    await test.broker.kill();
    await closed;
    await alsoClosed;
    expect(test.broker.clientCount).toBe(0);
    const successor = new EmbeddedBroker({
      material: await test.material(),
      host: "127.0.0.1",
      mtlsPort: test.mtlsPort,
      pskPort: test.pskPort,
    });
    expect(await successor.start()).toEqual({ mtlsPort: test.mtlsPort, pskPort: test.pskPort });
    await successor.stop();
  });

  it("says no will for the clients that it cuts off", async () => {
    await test.start();
    const will = { topic: "devices/dev1/up/status", payload: Buffer.from("lost"), qos: 1 as const, retain: false };
    const backend = await test.signIn(backendIdentity, "backend", { clean: false });
    await backend.subscribeAsync("devices/#", { qos: 1 });
    await test.signIn(deviceIdentity, "dev1", { will });
    await test.broker.kill();
    expect(test.broker.persistence.queuedCount("backend")).toBe(0);
  });

  it("returns with the sessions, the queued and the retained messages that a disk would have kept", async () => {
    await test.start();
    const backend = await test.signIn(backendIdentity, "backend", { clean: false });
    await backend.subscribeAsync("devices/+/up/#", { qos: 1 });
    await backend.endAsync();
    const device = await test.signIn(deviceIdentity, "dev1");
    await device.publishAsync("devices/dev1/up/a", "queued", { qos: 1, retain: true });
    await restart();
    const arrived: string[] = [];
    await test.signIn(backendIdentity, "backend", { clean: false }, (client) =>
      client.on("message", (_topic, payload) => arrived.push(payload.toString())),
    );
    await expect.poll(() => arrived).toEqual(["queued"]);
    const late = await test.signIn(backendIdentity, "backend~late");
    const kept = nextMessage(late);
    await late.subscribeAsync("devices/#", { qos: 1 });
    expect(await kept).toMatchObject({ payload: "queued", retain: true });
  });

  it.each([1, 2] as const)("loses no message of QoS %i when it dies again and again in the middle of a flood", async (qos) => {
    await test.start();
    const again = { clean: false, reconnectPeriod: 20 };
    const watcher = await test.signIn(backendIdentity, "backend", again);
    await watcher.subscribeAsync("devices/+/up/#", { qos });
    const device = await test.signIn(deviceIdentity, "dev1", again);
    const seen: string[] = [];
    const waiting = new Map<number, () => void>();
    watcher.on("message", (_topic, payload) => {
      seen.push(payload.toString());
      waiting.get(seen.length)?.();
    });
    const seenCount = (count: number): Promise<void> =>
      new Promise((resolve) => (seen.length >= count ? resolve() : waiting.set(count, resolve)));
    const sent = Array.from({ length: 400 }, (_, index) => String(index));
    const allAcknowledged = Promise.all(sent.map((payload) => device.publishAsync("devices/dev1/up/x", payload, { qos })));
    for (const count of [20, 120, 250]) {
      await seenCount(count);
      await restart();
    }
    await allAcknowledged;
    await seenCount(400);
    await expect.poll(() => new Set(seen).size).toBe(400);
    if (qos === 2) expect(seen.sort(byNumber)).toEqual(sent);
  });

  it("finishes an exchange of QoS 2 that it had begun, and marks what it sends again", async () => {
    await test.start();
    const connect = Uint8Array.of(0x10, 18, 0, 4, ...Buffer.from("MQTT"), 4, 0, 0, 60, 0, 6, ...Buffer.from("dev1~r"));
    const open = async (): Promise<TLSSocket> => {
      const socket = connectTls(test.mtlsOptions(deviceIdentity));
      socket.on("error", () => undefined);
      await once(socket, "secureConnect");
      socket.write(connect);
      return socket;
    };
    const first = new RawReader(await open());
    expect(await first.take(4)).toBe("20020000");
    first.socket.write(Uint8Array.of(0x82, 9, 0, 1, 0, 4, ...Buffer.from("devi"), 2));
    expect(await first.take(5)).toBe("9003000180");
    const filter = Buffer.from("devices/dev1/#");
    first.socket.write(Uint8Array.of(0x82, 5 + filter.length, 0, 2, 0, filter.length, ...filter, 2));
    expect(await first.take(5)).toBe("9003000202");
    const publisher = await test.signIn(deviceIdentity, "dev1");
    await publisher.publishAsync("devices/dev1/a", "x", { qos: 2 });
    const publish = await first.take(21);
    expect(publish.slice(0, 4)).toBe("3413");
    const packetId = publish.slice(36, 40);
    await restart();
    const second = new RawReader(await open());
    expect(await second.take(4)).toBe("20020100");
    expect(await second.take(21)).toBe(`3c13${publish.slice(4)}`);
    second.socket.write(Buffer.from(`5002${packetId}`, "hex"));
    expect(await second.take(4)).toBe(`6202${packetId}`);
    await restart();
    const third = new RawReader(await open());
    expect(await third.take(8)).toBe(`200201006202${packetId}`);
    third.socket.write(Buffer.from(`7002${packetId}`, "hex"));
    third.socket.write(Uint8Array.of(0xc0, 0));
    expect(await third.take(2)).toBe("d000");
    expect(test.broker.persistence.queuedCount("dev1~r")).toBe(0);
  });
});

describe("limits", () => {
  it("end a connection whose packet is too large, before it is buffered", async () => {
    await test.start({ maxPacketBytes: 1_000 });
    const device = await test.signIn(deviceIdentity, "dev1");
    await device.publishAsync("devices/dev1/up/x", "y".repeat(900), { qos: 1 });
    device.publish("devices/dev1/up/x", "y".repeat(1_000), { qos: 1 });
    expect(await test.event("disconnected")).toMatchObject({ reason: "PACKET_TOO_LARGE" });
  });

  it("refuse a CONNECT that is too large, none, or no MQTT", async () => {
    await test.start({ maxPacketBytes: 1_000 });
    for (const bytes of [
      Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0x7f),
      Uint8Array.of(0xc0, 0),
      Buffer.from("GET / HTTP/1.1\r\n"),
      Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff),
    ]) {
      expect(await test.exchange(test.mtlsOptions(deviceIdentity), bytes)).toMatchObject({ received: "" });
    }
    expect(test.events.map((event) => (event.type === "refused" ? event.reason : event.type))).toEqual([
      "PACKET_TOO_LARGE",
      "MALFORMED_CONNECT",
      "MALFORMED_CONNECT",
      "MALFORMED_CONNECT",
    ]);
  });

  it("refuse a CONNECT that only the broker proper finds malformed", async () => {
    await test.start();
    const badFlags = Uint8Array.from(connectPacket("dev1"));
    badFlags[9] = 0x03;
    expect(await test.exchange(test.mtlsOptions(deviceIdentity), badFlags)).toMatchObject({ received: "" });
    expect(await test.event("refused")).toMatchObject({ reason: "MALFORMED_CONNECT", name: "dev1" });
    expect(test.broker.clientCount).toBe(0);
  });

  it("end a client that sends its CONNECT byte by byte, and one that never begins its handshake", async () => {
    await test.start({ connectTimeoutMs: 300 });
    const packet = connectPacket("dev1");
    await test.exchange(test.mtlsOptions(deviceIdentity), packet.subarray(0, packet.length - 1));
    expect(await test.event("refused")).toMatchObject({ reason: "CONNECT_TIMEOUT", name: "dev1" });
    const silent = connect(test.pskPort, "127.0.0.1");
    silent.on("error", () => undefined);
    await once(silent, "close");
    expect(await test.event("refused", ({ port }) => port === "psk")).toMatchObject({ reason: "CONNECT_TIMEOUT" });
  });

  it("close connections above the maximum, on both ports together", async () => {
    test.psks.set("dev1", randomBytes(32));
    await test.start({ maxConnections: 1 });
    await test.signIn(backendIdentity, "backend");
    expect(await test.exchange(test.pskOptions("dev1", randomBytes(32)), connectPacket("dev1"))).toMatchObject({
      received: "",
      secured: false,
    });
    expect(await test.event("refused")).toMatchObject({ port: "psk", reason: "TOO_MANY_CONNECTIONS" });
  });

  it("slow a flooding client down without losing anything", async () => {
    await test.start({ maxMessagesPerSecond: 40 });
    const { backend, device } = await signInBoth();
    await backend.subscribeAsync("devices/#", { qos: 0 });
    const flood = Array.from({ length: 60 }, (_, index) => String(index));
    const first = nextPayloads(backend, 60);
    const startedMs = performance.now();
    for (const payload of flood) device.publish("devices/dev1/up/x", payload, { qos: 0 });
    expect(await first).toEqual(flood);
    const second = nextPayloads(backend, 1);
    device.publish("devices/dev1/up/x", "last", { qos: 0 });
    expect(await second).toEqual(["last"]);
    // Forty were free, twenty cost 25 ms each before the next is read. Only this lower bound is sure.
    expect(performance.now() - startedMs).toBeGreaterThan(400);
  });

  it("grant no more subscriptions than the maximum", async () => {
    await test.start({ maxSubscriptions: 2 });
    const device = await test.signIn(deviceIdentity, "dev1");
    await device.subscribeAsync("devices/dev1/down/a");
    await device.subscribeAsync("devices/dev1/down/b");
    await expect(device.subscribeAsync("devices/dev1/down/c")).rejects.toThrow();
    await device.subscribeAsync("devices/dev1/down/b", { qos: 1 });
  });

  it("find clients that fell silent, whatever keep-alive they asked for", async () => {
    await test.start({ maxKeepaliveSeconds: 1 });
    const socket = connectTls(test.mtlsOptions(deviceIdentity));
    socket.on("error", () => undefined);
    await once(socket, "secureConnect");
    const silentForEver = Uint8Array.from(connectPacket("dev1"));
    silentForEver[11] = 0;
    socket.write(silentForEver);
    socket.resume();
    await once(socket, "close");
    expect(await test.event("disconnected")).toMatchObject({ reason: "KEEPALIVE_TIMEOUT" });
  });

  it("do not let a client that does not read hold up the others", async () => {
    await test.start();
    const { backend, device } = await signInBoth();
    const deaf = new RawReader(connectTls(test.mtlsOptions(backendIdentity)));
    await once(deaf.socket, "secureConnect");
    deaf.socket.write(connectPacket("backend~deaf"));
    expect(await deaf.take(4)).toBe("20020000");
    deaf.socket.write(Uint8Array.of(0x82, 14, 0, 1, 0, 9, ...Buffer.from("devices/#"), 1));
    expect(await deaf.take(5)).toBe("9003000101");
    deaf.socket.on("error", () => undefined).pause();
    await backend.subscribeAsync("devices/#", { qos: 1 });
    // The kernel takes a few megabytes before the broker feels that nobody reads.
    while (!test.events.some(({ type }) => type === "dropped")) {
      const arrived = nextMessage(backend);
      device.publish("devices/dev1/up/x", Buffer.alloc(200_000, 1), { qos: 0 });
      await arrived;
    }
    expect(await test.event("dropped")).toMatchObject({ clientId: "backend~deaf", reason: "SLOW_CONSUMER" });
    await device.publishAsync("devices/dev1/up/x", "1", { qos: 1 });
    expect(await test.event("disconnected")).toMatchObject({ clientId: "backend~deaf", reason: "SLOW_CONSUMER" });
    deaf.socket.destroy();
  });
});

const byNumber = (one: string, other: string): number => Number(one) - Number(other);

/** Takes a raw connection's bytes in pieces of known length. */
class RawReader {
  #received = Buffer.alloc(0);

  constructor(readonly socket: TLSSocket) {
    socket.on("data", (chunk: Buffer) => (this.#received = Buffer.concat([this.#received, chunk])));
  }

  async take(sizeBytes: number): Promise<string> {
    while (this.#received.length < sizeBytes) await once(this.socket, "data");
    const taken = this.#received.subarray(0, sizeBytes);
    this.#received = this.#received.subarray(sizeBytes);
    return taken.toString("hex");
  }
}
