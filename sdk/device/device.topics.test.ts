/** The authority tells a device where its topics are: at provisioning, and with a certificate when they have been moved. */
import { describe, expect, it } from "vitest";
import { installIdentity } from "../identity/store.js";
import type { DeviceTopics } from "../identity/device-topics.js";
import { TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { accepting } from "../../test/support/device/scripted-dialer.js";
import { BROKER, ID, World } from "../../test/support/device/test-world.js";
import { Device, type DeviceConfig } from "./device.js";

const HERE: DeviceTopics = { base: `sites/b1/${ID}`, identity: `fleet/${ID}/who` };
const THERE: DeviceTopics = { base: `sites/b2/${ID}`, identity: `elsewhere/${ID}` };
const DEFAULT: DeviceTopics = { base: `devices/${ID}`, identity: `devices/${ID}/identity` };

/** A device that was provisioned with these topics, or before there were any. */
async function provisioned(topics?: DeviceTopics): Promise<World> {
  const world = await World.provisioned();
  const chain = [await world.issueFor(world.keys.csr("key-a", ID))];
  installIdentity(world.storage, world.keys, { id: ID, role: "sensor", pskIdentity: ID, chain, trustAnchors: [TEST_ANCHOR], topics });
  return world;
}

async function started(world: World, config: Partial<DeviceConfig> = {}): Promise<Device> {
  const device = new Device({ broker: BROKER, ...config }, world.platform);
  device.listen((event) => world.events.push(event));
  device.start();
  await world.pass(0);
  return device;
}

/** Where it is now. */
const placeOf = (world: World): DeviceTopics => ({ base: world.stored.base, identity: world.stored.identityBase });

/** The device asks for a certificate, and gets one with these topics. */
async function renewed(world: World, device: Device, topics: unknown): Promise<void> {
  device.renew();
  await world.pass(0);
  const request = world.dialer.last
    .of("publish")
    .map(({ topic, payload }) => ({
      topic: String(topic),
      ...(JSON.parse(String(payload)) as { type: string; requestId: string; csr: string }),
    }))
    .filter(({ type }) => type === "enrol")
    .at(-1);
  if (!request) throw new Error("nothing was asked for");
  const chain = [Buffer.from(await world.issueFor(Buffer.from(request.csr, "base64"))).toString("base64")];
  const payload = JSON.stringify({ v: 1, requestId: request.requestId, chain, topics });
  const topic = request.topic.replace(/request$/, "response");
  world.dialer.last.send({ cmd: "publish", topic, payload, qos: 0, retain: false, dup: false });
  await world.pass(1_000);
}

function filtersOf(world: World, cmd: "subscribe" | "unsubscribe"): string[] {
  const { last } = world.dialer;
  if (cmd === "unsubscribe") return last.of(cmd).flatMap(({ unsubscriptions }) => unsubscriptions as string[]);
  return last.of(cmd).flatMap(({ subscriptions }) => (subscriptions as { topic: string }[]).map(({ topic }) => topic));
}

describe("A device that was told at provisioning where its topics are", () => {
  it("publishes, subscribes, and speaks with the authority there", async () => {
    const world = await provisioned(HERE);
    const device = await started(world, { will: { topic: "up/status", payload: "gone" } });
    device.subscribe("down/#");
    device.renew();
    await world.pass(0);
    expect(device.topic("up/x")).toBe(`sites/b1/${ID}/up/x`);
    expect(world.dialer.last.received[0]).toMatchObject({ will: { topic: `sites/b1/${ID}/up/status` } });
    expect(filtersOf(world, "subscribe")).toEqual([`fleet/${ID}/who/response`, `sites/b1/${ID}/down/#`]);
    expect(world.dialer.last.of("publish").map(({ topic }) => topic)).toEqual([`fleet/${ID}/who/request`]);
  });

  it("goes by its program's own options instead, where they are given", async () => {
    const world = await provisioned(HERE);
    const device = await started(world, { topicBase: "mine/{id}", identityBase: "mine/{id}/id" });
    await renewed(world, device, THERE);
    expect([device.topic("x"), world.of("topics-changed")]).toEqual([`mine/${ID}/x`, []]);
    expect(world.dialer.last.of("publish").map(({ topic }) => topic)).toEqual([`mine/${ID}/id/request`]);
    // Without them it goes where it was told last.
    expect(placeOf(world)).toEqual(THERE);
  });
});

describe("A device whose topics are moved by the authority", () => {
  it("proves its certificate on the new ones, and takes its subscriptions and its will along", async () => {
    const world = await provisioned();
    let hasSession = false;
    world.dialer.usually = accepting({
      connect: () => ({ cmd: "connack", sessionPresent: hasSession, reasonCode: 0, returnCode: 0 }),
    });
    const device = await started(world, { will: { topic: "up/status", payload: "gone" } });
    hasSession = true;
    const down = device.subscribe("down/#");
    const other = device.subscribe({ absolute: "announcements/#" });
    await world.pass(0);
    await renewed(world, device, HERE);
    expect(world.of("topics-changed")).toEqual([{ type: "topics-changed", base: HERE.base, identityBase: HERE.identity }]);
    expect([device.topic("up/x"), down.filter, other.filter]).toEqual([`sites/b1/${ID}/up/x`, `sites/b1/${ID}/down/#`, "announcements/#"]);
    expect(device.filters).toEqual(["down/#"]);
    const answers = `fleet/${ID}/who/response`;
    expect(filtersOf(world, "subscribe")).toEqual([answers, answers, `sites/b1/${ID}/down/#`]);
    expect(filtersOf(world, "unsubscribe")).toEqual([`devices/${ID}/identity/response`, `devices/${ID}/down/#`]);
    // The report tells the authority where the device is from now on.
    expect(world.dialer.last.of("publish").map(({ topic }) => topic)).toEqual([`fleet/${ID}/who/request`]);
    void device.stop();
    await world.pass(0);
    const again = await started(world.rebooted(), { will: { topic: "up/status", payload: "gone" } });
    expect(again.topic("up/x")).toBe(`sites/b1/${ID}/up/x`);
    expect(placeOf(world)).toEqual(HERE);
  });

  it("hears what was on its way on the topics before", async () => {
    const world = await provisioned();
    const device = await started(world);
    const messages = device.subscribe("down/#")[Symbol.asyncIterator]();
    await renewed(world, device, HERE);
    for (const base of [DEFAULT.base, HERE.base]) {
      world.dialer.last.send({ cmd: "publish", topic: `${base}/down/x`, payload: "1", qos: 0, retain: false, dup: false });
      await world.pass(0);
      const { value } = await messages.next();
      expect(value?.topic).toBe(`${base}/down/x`);
    }
  });

  it("can be moved again, and back to where topics usually are", async () => {
    const world = await provisioned(HERE);
    const device = await started(world);
    const down = device.subscribe("down/#");
    for (const topics of [THERE, DEFAULT, HERE]) {
      await renewed(world, device, topics);
      expect([placeOf(world), down.filter]).toEqual([topics, `${topics.base}/down/#`]);
      expect(world.of("topics-changed").at(-1)).toMatchObject({ base: topics.base });
    }
    expect(device.filters).toEqual(["down/#"]);
  });

  it("keeps its topics, and takes the certificate, where the broker does not grant the new ones", async () => {
    const world = await provisioned(HERE);
    const refusesNew = accepting({
      subscribe: ({ messageId, subscriptions }) => ({
        cmd: "suback",
        messageId: messageId ?? 0,
        granted: (subscriptions as { topic: string }[]).map(({ topic }) => (topic.startsWith("elsewhere/") ? 0x87 : 0)),
      }),
    });
    world.dialer.usually = refusesNew;
    const device = await started(world);
    const before = device.status.serial;
    await renewed(world, device, THERE);
    await world.pass(600_000);
    expect(device.status.serial).not.toBe(before);
    expect([device.status.state, placeOf(world), world.of("topics-changed")]).toEqual(["online", HERE, []]);
    expect(world.of("identity-dropped")).toEqual([]);
    // It asks where it is heard.
    expect(world.dialer.last.of("publish").map(({ topic }) => topic)).toEqual([`fleet/${ID}/who/request`]);
  });

  it.each([
    ["nothing", undefined],
    ["a text", "sites/b1"],
    ["half of it", { base: "sites/b1" }],
    ["wildcards", { base: "sites/+", identity: "a/b" }],
    ["an empty level", { base: "sites//x", identity: "a/b" }],
    ["what is the broker's", { base: "sites/b1", identity: "$SYS/x" }],
    ["more than a record holds", { base: "x".repeat(513), identity: "a/b" }],
  ])("stays where it is when it is told %s", async (_, topics) => {
    const world = await provisioned(HERE);
    const device = await started(world);
    await renewed(world, device, topics);
    expect([world.of("renewed").length, placeOf(world), world.of("topics-changed")]).toEqual([1, HERE, []]);
  });

  it("is at one place or the other, with the certificate of that place, wherever the power is cut", async () => {
    const world = await provisioned(HERE);
    const device = await started(world);
    const before = device.status.serial;
    const moments: string[] = [];
    const put = world.storage.put.bind(world.storage);
    world.storage.put = (key, value) => {
      put(key, value);
      moments.push(`${String(world.serial === before)} ${placeOf(world).base} ${placeOf(world).identity}`);
    };
    await renewed(world, device, THERE);
    expect(new Set(moments)).toEqual(new Set([`true ${HERE.base} ${HERE.identity}`, `false ${THERE.base} ${THERE.identity}`]));
  });
});
