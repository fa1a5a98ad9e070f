/** What one client, or a stranger, can take from the others of an embedded broker: bounded. */
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BrokerMaterial } from "./broker-events.js";
import { TestBroker, nextMessage } from "../../test/support/brokers/embedded-test-broker.js";

const STRANGERS = 2_000;

let test: TestBroker;
const strangers: Socket[] = [];

beforeEach(async () => {
  test = await TestBroker.create();
});
afterEach(async () => {
  for (const socket of strangers.splice(0)) socket.destroy();
  await test.close();
});

/** Opens a connection and leaves it. */
function stranger(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    strangers.push(socket);
    socket.once("connect", resolve).once("close", resolve);
  });
}

describe("the embedded broker", () => {
  it("lets a device in beside thousands of connections that never sign in", async () => {
    await test.start({ maxHalfOpen: 200, maxHalfOpenPerNetwork: 100 });
    const identity = await test.authority.issue("dev1");
    const before = await test.signIn(identity, "dev1");
    for (let opened = 0; opened < STRANGERS; opened += 200) await Promise.all(Array.from({ length: 200 }, () => stranger(test.mtlsPort)));
    const late = await test.signIn(identity, "dev1~late");
    await before.publishAsync("devices/dev1/up/x", "still there", { qos: 1 });
    expect([before.connected, late.connected]).toEqual([true, true]);
    expect(strangers.filter((socket) => !socket.destroyed).length).toBeLessThan(STRANGERS);
    expect(await test.event("refused")).toMatchObject({ reason: "TOO_MANY_CONNECTIONS", detail: expect.stringContaining("make room") });
  });

  it("bounds the connections and the sessions of one name, and lets others in", async () => {
    await test.start({ maxSessionsPerName: 2 });
    const identity = await test.authority.issue("dev1");
    await test.signIn(identity, "dev1", { clean: false });
    const second = await test.signIn(identity, "dev1~2", { clean: false });
    await expect(test.signIn(identity, "dev1~3")).rejects.toThrow();
    expect(await test.event("refused")).toMatchObject({ name: "dev1", reason: "TOO_MANY_SESSIONS" });
    await second.endAsync();
    await test.event("disconnected");
    await expect(test.signIn(identity, "dev1~3", { clean: false })).rejects.toThrow();
    await test.signIn(identity, "dev1~3");
    await test.signIn(identity, "dev1");
    await test.signIn(await test.authority.issue("dev2"), "dev2");
  });

  it("passes on what a client may not retain, without keeping it, and bounds the bytes of what is kept", async () => {
    await test.start({ maxRetainedBytes: 1_000 }, { material: await test.material({ mayRetain: ({ name }) => name === "backend" }) });
    const device = await test.signIn(await test.authority.issue("dev1"), "dev1");
    const backend = await test.signIn(await test.authority.issue("backend"), "backend");
    await backend.subscribeAsync("devices/dev1/up/#", { qos: 1 });
    const told = nextMessage(backend);
    await device.publishAsync("devices/dev1/up/x", "passed on", { qos: 1, retain: true });
    expect(await told).toMatchObject({ payload: "passed on" });
    await backend.publishAsync("devices/dev1/a", Buffer.alloc(600), { qos: 1, retain: true });
    await backend.publishAsync("devices/dev1/b", Buffer.alloc(600), { qos: 1, retain: true });
    expect(test.events.filter(({ type }) => type === "dropped")).toMatchObject([
      { reason: "RETAIN_NOT_ALLOWED" },
      { reason: "RETAINED_FULL" },
    ]);
    const first = nextMessage(device);
    await device.subscribeAsync("devices/dev1/#", { qos: 1 });
    expect(await first).toMatchObject({ topic: "devices/dev1/a", retain: true });
  });

  it("takes limits from its material, anew at each reload", async () => {
    const withLimits = async (maxConnectionsPerNetwork: number): Promise<BrokerMaterial> =>
      test.material({ limits: { maxConnectionsPerNetwork }, maxConnectionsOf: ({ name }) => (name === "dev2" ? 1 : undefined) });
    await test.start({}, { material: await withLimits(1) });
    const [one, two] = [await test.authority.issue("dev1"), await test.authority.issue("dev2")];
    await test.signIn(one, "dev1");
    await expect(test.signIn(one, "dev1~2")).rejects.toThrow();
    expect(await test.event("refused")).toMatchObject({ reason: "TOO_MANY_CONNECTIONS" });
    test.broker.reload(await withLimits(10));
    await test.signIn(one, "dev1~2");
    await test.signIn(two, "dev2");
    await expect(test.signIn(two, "dev2~2")).rejects.toThrow();
    expect(await test.event("refused", ({ name }) => name === "dev2")).toMatchObject({ reason: "TOO_MANY_SESSIONS" });
    // The same client again takes its own place.
    await test.signIn(two, "dev2");
  });

  it("forgets the session of a client that has been away too long, and no other", async () => {
    await test.start({ maxAwaySeconds: 0 });
    const { persistence } = test.broker;
    const identity = await test.authority.issue("dev1");
    const [gone] = [await test.signIn(identity, "dev1", { clean: false }), await test.signIn(identity, "dev1~stays", { clean: false })];
    expect(persistence.sessionCount).toBe(2);
    await gone.endAsync();
    await expect.poll(() => persistence.sessionCount, { timeout: 10_000 }).toBe(1);
    const back = await test.signIn(identity, "dev1~stays", { clean: false });
    expect(back.connected).toBe(true);
    expect(persistence.sessionCount).toBe(1);
  });

  it("ends a connection when its certificate expires", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1", "client", { notAfter: new Date(Date.now() + 3_000) });
    await test.signIn(identity, "dev1");
    expect(await test.event("disconnected")).toMatchObject({ name: "dev1", reason: "CERTIFICATE_EXPIRED" });
  });
});
