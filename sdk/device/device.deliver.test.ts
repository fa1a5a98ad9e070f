/** `device.deliver()`: one waking of a device that sleeps in between. */
import { describe, expect, it } from "vitest";
import { accepting, failing, silent } from "../../test/support/device/scripted-dialer.js";
import { BROKER, DAY_MS, ID, World } from "../../test/support/device/test-world.js";
import { failure } from "../failure.js";
import type { DeliveryOptions, DeliveryReport } from "./delivery.js";
import { Device } from "./device.js";

const READING = { topic: "up/reading", payload: "21.5" };

async function made(lifetimeMs?: number): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned(lifetimeMs === undefined ? {} : { lifetimeMs });
  const device = new Device({ broker: BROKER }, world.platform);
  device.listen((event) => world.events.push(event));
  return { world, device };
}

/** The report, and how long it took in virtual time, milliseconds. */
async function timed(world: World, report: Promise<DeliveryReport>): Promise<{ report: DeliveryReport; tookMs: number }> {
  const begunMs = world.platform.clock.monotonicMs();
  let over: number | undefined;
  const done = report.finally(() => (over = world.platform.clock.monotonicMs()));
  for (let i = 0; i < 10_000 && over === undefined; i++) await world.pass(10);
  return { report: await done, tookMs: (over ?? Infinity) - begunMs };
}

const deliver = (world: World, device: Device, options?: DeliveryOptions): Promise<{ report: DeliveryReport; tookMs: number }> =>
  timed(world, device.deliver([READING], options));

describe("A delivery", () => {
  it("connects, tells what was confirmed, and leaves in an orderly way", async () => {
    const { world, device } = await made();
    const { report, tookMs } = await deliver(world, device);
    expect(report).toEqual({ messages: [{ state: "confirmed", reasonCode: 0 }], waiting: 0 });
    expect(device.status.state).toBe("stopped");
    const { last } = world.dialer;
    expect(last.of("publish").map(({ topic, qos }) => [topic, qos])).toEqual([[`devices/${ID}/up/reading`, 1]]);
    expect(last.of("disconnect")).toHaveLength(1);
    expect(tookMs).toBeLessThanOrEqual(600);
  });

  it("brings what an earlier one could not, and the device can be waked again and again", async () => {
    const { world, device } = await made();
    world.dialer.usually = failing(failure("DNS_FAILED", "no such host"));
    const first = await deliver(world, device, { withinMs: 3_000 });
    expect(first.report).toEqual({ messages: [{ state: "waiting" }], waiting: 1 });
    expect(first.tookMs).toBeLessThanOrEqual(3_010);
    world.dialer.usually = accepting();
    const second = await timed(world, device.deliver([]));
    expect(second.report).toEqual({ messages: [], waiting: 0 });
    expect(world.dialer.last.of("publish")).toHaveLength(1);
  });

  it.each([
    ["never opens the link", silent],
    ["never acknowledges", accepting({ publish: () => undefined })],
    ["never accepts", accepting({ connect: () => undefined })],
  ])("ends in time at a broker that %s", async (_, behaviour) => {
    const { world, device } = await made();
    world.dialer.usually = behaviour;
    const { report, tookMs } = await deliver(world, device, { withinMs: 4_000 });
    expect(report).toEqual({ messages: [{ state: "waiting" }], waiting: 1 });
    expect(tookMs).toBeLessThanOrEqual(9_010);
    expect(device.status.state).toBe("stopped");
  });

  it("says why a message failed", async () => {
    const { world, device } = await made();
    world.dialer.usually = accepting({ publish: ({ messageId }) => ({ cmd: "puback", messageId: messageId ?? 0, reasonCode: 0x97 }) });
    const { report } = await timed(world, device.deliver([READING, { topic: "up/#", payload: "" }]));
    expect(report.messages).toMatchObject([
      { state: "failed", error: { code: "QUOTA_EXCEEDED" } },
      { state: "failed", error: { code: "INVALID_TOPIC" } },
    ]);
  });

  it("takes what waits at the broker, and what comes while it listens", async () => {
    const { world, device } = await made();
    const taken: string[] = [];
    const commands = device.subscribe("down/#", { qos: 1 });
    void (async () => {
      for await (const command of commands) taken.push(command.text());
    })();
    const command = { cmd: "publish", topic: `devices/${ID}/down/a`, qos: 1, retain: false, dup: false };
    world.dialer.usually = accepting({
      publish: ({ messageId }, peer) => {
        peer.send({ ...command, payload: "waited", messageId: 1 });
        peer.time.after(900, () => peer.send({ ...command, payload: "came", messageId: 2 }));
        return { cmd: "puback", messageId: messageId ?? 0, reasonCode: 0 };
      },
    });
    await deliver(world, device, { listenMs: 1_000 });
    expect(taken).toEqual(["waited", "came"]);
    expect(world.dialer.last.of("puback").map(({ messageId }) => messageId)).toEqual([1, 2]);
  });

  it("does not go to sleep in the middle of a renewal", async () => {
    const { world, device } = await made(DAY_MS);
    await world.pass(0.9 * DAY_MS);
    const delivery = device.deliver([READING]);
    await world.pass(3_000);
    expect(device.status.state).toBe("online");
    await world.issue();
    const { report, tookMs } = await timed(world, delivery);
    expect(report.messages).toMatchObject([{ state: "confirmed" }]);
    expect([world.of("renewed").length, world.reports.length]).toEqual([1, 1]);
    expect(tookMs).toBeLessThan(6_000);
  });

  it("does not wait beyond its time for an authority that is silent", async () => {
    const { world, device } = await made(DAY_MS);
    await world.pass(0.9 * DAY_MS);
    const { report, tookMs } = await deliver(world, device, { withinMs: 2_000 });
    expect(report.messages).toMatchObject([{ state: "confirmed" }]);
    expect([world.enrolments.length, tookMs]).toEqual([1, 2_000]);
  });

  it("ends when the device is stopped", async () => {
    const { world, device } = await made();
    world.dialer.usually = accepting({ publish: () => undefined });
    const delivery = deliver(world, device);
    await world.pass(1_000);
    await Promise.all([device.stop(), world.pass(0)]);
    expect((await delivery).tookMs).toBeLessThanOrEqual(1_010);
  });

  it("leaves a device connected that was started", async () => {
    const { world, device } = await made();
    device.start();
    await world.pass(0);
    const { report } = await deliver(world, device);
    expect([report.messages[0]?.state, device.status.state]).toEqual(["confirmed", "online"]);
  });

  it("leaves only after the last of several, and begins only after an earlier goodbye", async () => {
    const { world, device } = await made();
    const one = device.deliver([READING], { listenMs: 100 });
    const two = device.deliver([READING], { listenMs: 2_000 });
    await timed(world, one);
    expect(device.status.state).toBe("online");
    await timed(world, two);
    expect(device.status.state).toBe("stopped");
    device.start();
    await world.pass(0);
    void device.stop();
    expect((await deliver(world, device)).report.messages).toMatchObject([{ state: "confirmed" }]);
  });

  it.each<[string, unknown, unknown]>([
    ["time that is no number", [], { withinMs: "20 s" }],
    ["an option that does not exist", [], { timeoutMs: 1 }],
    ["messages that are no list", READING, {}],
    ["a message that is none", [null], {}],
    ["QoS 0", [{ ...READING, qos: 0 }], {}],
  ])("refuses %s", async (_, messages, options) => {
    const { device } = await made();
    await expect(device.deliver(messages as never, options as never)).rejects.toMatchObject({ code: "BAD_OPTION" });
  });
});
