/** One item that makes a broker end the connection is found and given up; nothing else waits for it for long. */
import { describe, expect, it } from "vitest";
import { accepting, type Answer, type Peer } from "../../test/support/device/scripted-dialer.js";
import { BROKER, ID, RECOVERY, World } from "../../test/support/device/test-world.js";
import type { LibraryPacket } from "../../test/support/mqtt/scripted-broker.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { Device, type DeviceConfig } from "./device.js";

const topic = (relative: string): string => `devices/${ID}/${relative}`;

/** A broker with sessions that hangs up on what `isPoison` says, and answers all else. */
async function hangingUp(
  isPoison: (packet: LibraryPacket) => boolean,
  config: Partial<DeviceConfig> = {},
): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  const sound = accepting().answers!;
  const cutting =
    (cmd: string): Answer =>
    (packet, peer) => {
      if (isPoison(packet)) peer.time.after(0, () => peer.wire.cut());
      else return sound[cmd]?.(packet, peer) ?? answerToQos2(packet);
      return undefined;
    };
  const connect: Answer = () => ({ cmd: "connack", sessionPresent: world.dialer.peers.length > 1, reasonCode: 0, returnCode: 0 });
  const pubrel: Answer = (packet) =>
    isPoison(packet) ? cutting("pubrel")(packet, world.dialer.last) : { cmd: "pubcomp", messageId: packet.messageId ?? 0, reasonCode: 0 };
  world.dialer.usually = accepting({
    connect,
    publish: cutting("publish"),
    subscribe: cutting("subscribe"),
    unsubscribe: cutting("unsubscribe"),
    pubrel,
  });
  const device = new Device({ broker: BROKER, recovery: RECOVERY, ...config }, world.platform);
  device.listen((event) => world.events.push(event));
  return { world, device };
}

function answerToQos2({ cmd, qos, messageId }: LibraryPacket): LibraryPacket | undefined {
  return cmd === "publish" && qos === 2 ? { cmd: "pubrec", messageId: messageId ?? 0, reasonCode: 0 } : undefined;
}

/** The payloads that came for a topic and were answered, in order, each once. */
function arrived(peers: readonly Peer[], of: string): string[] {
  const payloads = peers
    .flatMap((peer) => peer.of("publish"))
    .filter((packet) => packet.topic === topic(of))
    .map(({ payload }) => String(payload));
  return [...new Set(payloads)];
}

const filtersOf = ({ subscriptions, unsubscriptions }: LibraryPacket): string[] => [
  ...((subscriptions ?? []) as { topic: string }[]).map((one) => one.topic),
  ...((unsubscriptions ?? []) as string[]),
];

const FORBIDDEN = (packet: LibraryPacket): boolean => packet.cmd === "publish" && packet.topic === topic("up/forbidden");

describe("a publish that the broker hangs up on", () => {
  for (const protocolVersion of [4, 5] as const) {
    for (const qos of [1, 2] as const) {
      it(`is given up after a few connections, and the others arrive before (version ${protocolVersion}, QoS ${qos})`, async () => {
        const { world, device } = await hangingUp(FORBIDDEN, { protocolVersion });
        device.start();
        await world.pass(0);
        const forbidden = watch(device.publish("up/forbidden", "x", { qos }));
        const good = [1, 2, 3].map((n) => watch(device.publish("up/good", `good ${n}`, { qos: 1 })));
        await world.pass(60_000);
        expect([forbidden.state, ...good.map(({ state }) => state)]).toEqual(["BROKER_HANGS_UP", "resolved", "resolved", "resolved"]);
        expect(world.of("message-dropped")).toEqual([{ type: "message-dropped", topic: topic("up/forbidden"), code: "BROKER_HANGS_UP" }]);
        expect(world.dialer.peers.length).toBeLessThan(9);
        expect(device.status).toMatchObject({ state: "online", outbox: { messages: 0 } });
      });
    }
  }

  it("does not keep a renewal waiting", async () => {
    const { world, device } = await hangingUp(FORBIDDEN);
    device.start();
    await world.pass(0);
    void device.publish("up/forbidden", "x", { qos: 1 }).catch(() => undefined);
    device.renew();
    await world.pass(3_000);
    expect(world.enrolments.length).toBeGreaterThan(0);
  });

  it("keeps the order of its topic: what stands behind it comes after it, or when it is given up", async () => {
    const bad = (packet: LibraryPacket): boolean => packet.cmd === "publish" && String(packet.payload) === "bad";
    const { world, device } = await hangingUp(bad);
    device.start();
    await world.pass(0);
    for (const text of ["1", "bad", "2", "3"]) void device.publish("up/t", text, { qos: 1 }).catch(() => undefined);
    await world.pass(200_000);
    expect(arrived(world.dialer.peers, "up/t")).toEqual(["1", "bad", "2", "3"]);
    expect(world.of("message-dropped")).toHaveLength(1);
    expect(device.status.outbox.messages).toBe(0);
  });

  it("makes its topic refused at the call when a second message of it fared no better, for ten minutes", async () => {
    const { world, device } = await hangingUp(FORBIDDEN);
    device.start();
    await world.pass(0);
    const all = Array.from({ length: 10 }, () => watch(device.publish("up/forbidden", "x", { qos: 1 })));
    for (let n = 0; n < 30; n++) {
      void device.publish("up/good", "x", { qos: 1 });
      await world.pass(3_000);
    }
    expect(all.map(({ state }) => state)).toEqual(all.map(() => "BROKER_HANGS_UP"));
    const connections = world.dialer.peers.length;
    expect(connections).toBeLessThan(10);
    await expect(device.publish("up/forbidden", "x", { qos: 1 })).rejects.toMatchObject({ code: "BROKER_HANGS_UP" });
    expect(watch(device.publish("up/forbidden", "", { qos: 1 })).state).toBe("pending");
    await world.pass(700_000);
    const later = watch(device.publish("up/forbidden", "x", { qos: 1 }));
    expect(later.state).toBe("pending");
    void device.publish("up/good", "x", { qos: 1 });
    await world.pass(600_000);
    expect(later.state).toBe("BROKER_HANGS_UP");
  });

  it("is given up at once when the broker says that it is this one", async () => {
    const { world, device } = await hangingUp(() => false);
    const { answers } = world.dialer.usually;
    const tooLarge: Answer = (packet, peer) =>
      FORBIDDEN(packet) ? { cmd: "disconnect", reasonCode: 0x95 } : answers!.publish!(packet, peer);
    world.dialer.usually = accepting({ ...answers, publish: tooLarge });
    device.start();
    await world.pass(0);
    const forbidden = watch(device.publish("up/forbidden", "x", { qos: 1 }));
    await world.pass(60_000);
    expect([forbidden.state, world.of("disconnected").length]).toEqual(["BROKER_HANGS_UP", 3]);
  });

  it("is given up too when the broker never answers it", async () => {
    const { world, device } = await hangingUp(() => false);
    const { answers } = world.dialer.usually;
    world.dialer.usually = accepting({
      ...answers,
      publish: (packet, peer) => (FORBIDDEN(packet) ? undefined : answers!.publish!(packet, peer)),
    });
    device.start();
    await world.pass(0);
    const forbidden = watch(device.publish("up/forbidden", "x", { qos: 1 }));
    const good = watch(device.publish("up/good", "x", { qos: 1 }));
    await world.pass(1_200_000);
    expect([forbidden.state, good.state, device.status.state]).toEqual(["BROKER_HANGS_UP", "resolved", "online"]);
  });
});

describe("a broker that hangs up on every message for a while", () => {
  it("loses none of them", async () => {
    const { world, device } = await hangingUp(() => false);
    const { answers } = world.dialer.usually;
    let hangUps = 0;
    const cut: Answer = (packet, peer) => {
      if (hangUps++ > 100) return answers!.publish!(packet, peer);
      peer.time.after(0, () => peer.wire.cut());
      return undefined;
    };
    world.dialer.usually = accepting({ ...answers, publish: cut });
    device.start();
    await world.pass(0);
    const all = Array.from({ length: 30 }, (_, n) => watch(device.publish(`up/${n % 5}`, `${n}`, { qos: 1 })));
    await world.pass(20_000_000);
    expect(hangUps).toBeGreaterThan(100);
    expect(all.map(({ state }) => state)).toEqual(all.map(() => "resolved"));
    expect(world.of("message-dropped")).toEqual([]);
  });
});

describe("a subscription that the broker hangs up on", () => {
  const isDown = (packet: LibraryPacket): boolean => packet.cmd === "subscribe" && filtersOf(packet).includes(topic("down/bad"));

  it("is refused with an event, and the others are made before", async () => {
    const { world, device } = await hangingUp(isDown);
    const bad = watch(device.subscribe("down/bad", { qos: 1 }).granted);
    const good = watch(device.subscribe("down/good", { qos: 1 }).granted);
    device.start();
    await world.pass(60_000);
    expect([bad.state, good.state]).toEqual(["BROKER_HANGS_UP", "resolved"]);
    expect(world.of("subscription-refused")).toEqual([
      { type: "subscription-refused", filter: topic("down/bad"), code: "BROKER_HANGS_UP" },
    ]);
    expect([device.status.state, device.filters]).toEqual(["online", ["down/good"]]);
  });

  it("costs one connection when it is made again", async () => {
    const { world, device } = await hangingUp(isDown);
    device.subscribe("down/bad").granted.catch(() => undefined);
    device.start();
    await world.pass(60_000);
    const before = world.dialer.peers.length;
    device.subscribe("down/bad").granted.catch(() => undefined);
    await world.pass(60_000);
    expect(world.dialer.peers.length).toBe(before + 1);
  });

  it("leaves the device on line also when it is the authority's", async () => {
    const { world, device } = await hangingUp(
      (packet) => packet.cmd === "subscribe" && filtersOf(packet).includes(topic("identity/response")),
    );
    device.start();
    await world.pass(60_000);
    const connections = world.dialer.peers.length;
    const good = watch(device.publish("up/good", "x", { qos: 1 }));
    await world.pass(600_000);
    expect([good.state, world.dialer.peers.length]).toEqual(["resolved", connections]);
    expect(world.of("subscription-refused")).toHaveLength(1);
  });
});

describe("other requests that the broker hangs up on", () => {
  it("an enrolment request is given up, and asked again by the renewal's own backoff", async () => {
    const { world, device } = await hangingUp((packet) => packet.cmd === "publish" && packet.topic === topic("identity/request"));
    device.start();
    await world.pass(0);
    device.renew();
    const good = watch(device.publish("up/good", "x", { qos: 1 }));
    await world.pass(300_000);
    expect(good.state).toBe("resolved");
    expect(world.of("renewal-failed").length).toBeGreaterThan(0);
    const later = watch(device.publish("up/good", "y", { qos: 1 }));
    await world.pass(300_000);
    expect(later.state).toBe("resolved");
  });

  it("an UNSUBSCRIBE is given up", async () => {
    const { world, device } = await hangingUp((packet) => packet.cmd === "unsubscribe");
    device.start();
    await world.pass(0);
    const left = watch(device.unsubscribe("down/old"));
    await world.pass(60_000);
    expect(left).toMatchObject({ state: "resolved", value: { reasonCodes: [0x80] } });
    expect(device.status.state).toBe("online");
  });
});
