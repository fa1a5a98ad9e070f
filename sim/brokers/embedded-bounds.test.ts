/** What one client, or a stranger, can take from the others of an embedded broker: bounded. */
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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

  it("ends a connection when its certificate expires", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1", "client", { notAfter: new Date(Date.now() + 3_000) });
    await test.signIn(identity, "dev1");
    expect(await test.event("disconnected")).toMatchObject({ name: "dev1", reason: "CERTIFICATE_EXPIRED" });
  });
});
