/** What others do must not cost the device its certificate or its connection: a busy application, a link that throws. */
import { describe, expect, it } from "vitest";
import { Device, type DeviceConfig } from "./device.js";
import { BROKER, ID, RECOVERY, World } from "../../test/support/device/test-world.js";

async function started(config: Partial<DeviceConfig> = {}): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  const device = new Device({ broker: BROKER, recovery: RECOVERY, ...config }, world.platform);
  device.listen((event) => world.events.push(event));
  device.start();
  await world.pass(0);
  return { world, device };
}

describe("A renewal", () => {
  it("goes on beside an application that keeps the outbox full", async () => {
    const { world, device } = await started({ outbox: { maxMessages: 10 } });
    let isBusy = true;
    const keepOn = (): void => {
      if (isBusy) device.publish("up/t", "x", { qos: 1 }).then(keepOn, () => undefined);
    };
    world.dialer.last.behaviour.answers = {
      ...world.dialer.last.behaviour.answers,
      publish: ({ messageId }, peer) => {
        peer.time.after(1_000, () => peer.send({ cmd: "puback", messageId: messageId ?? 0, reasonCode: 0 }));
        return undefined;
      },
    };
    for (let i = 0; i < 10; i++) keepOn();
    await world.pass(500);
    device.renew();
    await world.pass(60_000);
    isBusy = false;
    expect(world.enrolments.length).toBeGreaterThan(0);
  });

  it("goes on beside an application that takes none of its messages", async () => {
    const { world, device } = await started();
    device.subscribe("down/#", { qos: 1 });
    await world.pass(0);
    const peer = world.dialer.last;
    const window = Number((peer.received[0]?.properties as { receiveMaximum?: number } | undefined)?.receiveMaximum ?? 65_535);
    for (let messageId = 1; messageId <= window; messageId++)
      peer.send({ cmd: "publish", topic: `devices/${ID}/down/a`, payload: "x", qos: 1, messageId, retain: false, dup: false });
    device.renew();
    await world.pass(0);
    // What a broker does: at QoS 1 it sends no more than the device takes (MQTT 5.0, section 4.9).
    const filters = peer.of("subscribe").flatMap(({ subscriptions }) => subscriptions as { topic: string; qos: number }[]);
    const mayAnswer =
      filters.some(({ topic, qos }) => topic === `devices/${ID}/identity/response` && qos === 0) || peer.of("puback").length > 0;
    if (mayAnswer) await world.issue();
    await world.pass(5_000);
    expect(world.of("renewed")).toHaveLength(1);
  });
});

describe("A link that throws when it is closed", () => {
  it("does not keep the device from stopping", async () => {
    const { world, device } = await started();
    world.dialer.last.wire.close = () => {
      throw new Error("no such socket");
    };
    let outcome = "pending";
    void device.stop().then(
      () => (outcome = "stopped"),
      () => (outcome = "rejected"),
    );
    await world.pass(10_000);
    expect([outcome, device.status.state]).toEqual(["stopped", "stopped"]);
  });

  it("does not keep the device from noticing that the broker is gone", async () => {
    const { world, device } = await started();
    const { wire } = world.dialer.last;
    wire.isDead = true;
    wire.close = () => {
      throw new Error("no such socket");
    };
    await world.pass(200_000);
    expect(device.status.state).toBe("online");
    expect(world.of("disconnected")).toMatchObject([{ code: "KEEPALIVE_TIMEOUT" }]);
  });

  it("when it is written to costs the connection, not the device", async () => {
    const { world, device } = await started();
    world.dialer.last.wire.write = () => {
      throw new Error("no such socket");
    };
    void device.publish("up/t", "x", { qos: 1 });
    await world.pass(10_000);
    expect([device.status.state, device.status.outbox.messages, world.of("disconnected").length]).toEqual(["online", 0, 1]);
  });
});
