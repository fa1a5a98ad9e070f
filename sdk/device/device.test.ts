import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { failure } from "../failure.js";
import { Device, type DeviceConfig } from "./device.js";
import type { DeviceEvent } from "../events.js";
import { IdentityStore } from "../identity/store.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { accepting, failing, refusing, type Behaviour } from "../../test/support/device/scripted-dialer.js";
import { BROKER, DAY_MS, ID, RECOVERY, World, type WorldOptions } from "../../test/support/device/test-world.js";

interface Setting extends WorldOptions {
  next?: Behaviour[];
  usually?: Behaviour;
}

const REVOKED = failing(failure("CERTIFICATE_REVOKED", "in a test"));
const NO_NETWORK = failing(failure("DNS_FAILED", "in a test"));

/** A device that boots in `world` and tells it what happens. */
function boot(world: World, config: Partial<DeviceConfig> = {}): Device {
  const device = new Device({ broker: BROKER, recovery: RECOVERY, ...config }, world.platform);
  device.listen((event) => world.events.push(event));
  return device;
}

async function made(config: Partial<DeviceConfig> = {}, setting: Setting = {}): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned(setting);
  world.dialer.next = setting.next ?? [];
  if (setting.usually) world.dialer.usually = setting.usually;
  return { world, device: boot(world, config) };
}

async function started(config: Partial<DeviceConfig> = {}, setting: Setting = {}): Promise<{ world: World; device: Device }> {
  const both = await made(config, setting);
  both.device.start();
  await both.world.pass(0);
  return both;
}

/** What came of the application's messages, over all connections. */
function came(world: World): string[] {
  const published = world.dialer.peers.flatMap((peer) => peer.of("publish"));
  return published
    .filter(({ topic }) => !String(topic).includes("/identity/"))
    .map(({ topic, payload, qos }) => `${String(topic)} ${String(payload)} ${String(qos)}`);
}

describe("A device that is made", () => {
  it("has its name and connects only when it is started", async () => {
    const { world, device } = await made();
    await world.pass(DAY_MS);
    expect([device.id, device.topic("up/x"), world.dialer.peers.length]).toEqual([ID, `devices/${ID}/up/x`, 0]);
    const { serial, notAfterMs } = device.status;
    expect(device.status).toEqual({
      state: "stopped",
      id: ID,
      credential: "mtls",
      serial,
      notAfterMs,
      outbox: { messages: 0, bytes: 0, inFlight: 0 },
    });
    expect(serial).toBe(world.serial);
  });

  it.each<[string, Partial<DeviceConfig>]>([
    ["a broker without a name", { broker: { host: "", port: 8883 } }],
    ["port 0", { broker: { host: "b", port: 0 } }],
    ["port 65536", { broker: { host: "b", port: 65_536 } }],
    ["half a port", { broker: { host: "b", port: 1.5 } }],
    ["a recovery endpoint that is none", { recovery: { host: "r", port: -1 } }],
    ["a keep-alive of 4 s", { keepAliveSeconds: 4 }],
    ["a keep-alive of 65536 s", { keepAliveSeconds: 65_536 }],
    ["a keep-alive of half a minute and a bit", { keepAliveSeconds: 30.5 }],
    ["no time to connect in", { connectTimeoutMs: 0 }],
    ["a session that ended before", { sessionExpirySeconds: -1 }],
    ["packets too small for the authority's answers", { maximumPacketSizeBytes: 1_023 }],
    ["a backoff of no number", { backoff: { capMs: NaN } }],
  ])("refuses %s", async (_, config) => {
    const world = await World.provisioned();
    expect(() => boot(world, config)).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }));
  });

  it.each<[string, Partial<DeviceConfig>]>([
    ["a session expiry below 0", { sessionExpirySeconds: -1 }],
    ["an outbox without room", { outbox: { maxMessages: 0 } }],
    ["no time to connect", { connectTimeoutMs: 0 }],
    ["a will to a wildcard", { will: { topic: "up/#", payload: "" } }],
  ])("refuses %s with a typed error", async (_, config) => {
    const world = await World.provisioned();
    expect(() => boot(world, config)).toThrow(expect.objectContaining({ name: "HawserError" }));
  });

  it("says so when it was never provisioned, or its records cannot be read", async () => {
    const world = await World.provisioned();
    world.storage.records.set("device", Uint8Array.of(0xff));
    expect(() => boot(world)).toThrow(expect.objectContaining({ code: "IDENTITY_CORRUPT" }));
    world.storage.records.clear();
    expect(() => boot(world)).toThrow(expect.objectContaining({ code: "NOT_PROVISIONED" }));
  });
});

describe("A device with a spare broker", () => {
  it("goes there when the first is away, with its messages and its subscriptions", async () => {
    const { world, device } = await started({ spares: [{ host: "spare.test", port: 8883 }] }, { next: [NO_NETWORK] });
    device.subscribe("down/#");
    const sent = watch(device.publish("up/x", "1", { qos: 1 }));
    await world.pass(60_000);
    const { endpoint } = world.dialer.last;
    expect([endpoint.host, sent.state, device.status.state]).toEqual(["spare.test", "resolved", "online"]);
    expect(world.dialer.last.of("subscribe")).not.toEqual([]);
  });
});

describe("A device whose topics are elsewhere", () => {
  it("publishes, subscribes and leaves its will below its base, and its identity where the authority looks", async () => {
    const { world, device } = await started({ topicBase: "sites/b1/{id}", will: { topic: "up/status", payload: "gone" } });
    expect(device.topic("up/x")).toBe(`sites/b1/${ID}/up/x`);
    const subscription = device.subscribe("down/#");
    await world.pass(0);
    void device.publish("up/x", "1", { qos: 1 });
    await world.pass(0);
    const { last } = world.dialer;
    expect(last.received[0]).toMatchObject({ will: { topic: `sites/b1/${ID}/up/status` } });
    expect(came(world)).toEqual([`sites/b1/${ID}/up/x 1 1`]);
    const filters = last.of("subscribe").flatMap(({ subscriptions }) => (subscriptions as { topic: string }[]).map(({ topic }) => topic));
    expect(new Set(filters)).toEqual(new Set([`devices/${ID}/identity/response`, `sites/b1/${ID}/down/#`]));
    expect(device.filters).toEqual(["down/#"]);
    subscription.close();
  });

  it("asks for certificates where it is told to, and listens there", async () => {
    const { world, device } = await started({ identityBase: "fleet/{id}/who" });
    const { last } = world.dialer;
    expect(JSON.stringify(last.of("subscribe"))).toContain(`fleet/${ID}/who/response`);
    device.renew();
    await world.pass(0);
    expect(last.of("publish").map(({ topic }) => topic)).toContain(`fleet/${ID}/who/request`);
    expect(JSON.stringify(last.received)).not.toContain(`devices/${ID}`);
    const { device: below } = await started({ topicBase: "fleet/{id}", identityBase: "fleet/{id}/who" });
    expect(below.filters).toEqual([]);
  });

  it.each(["fleet/who", "{id}/+", "", "$SYS/{id}"])("refuses to ask below %j", async (identityBase) => {
    const world = await World.provisioned();
    expect(() => boot(world, { identityBase })).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }));
  });

  it("takes absolute topics beside its own", async () => {
    const { world, device } = await started();
    void device.publish({ absolute: "announcements/x" }, "1", { qos: 1 });
    device.subscribe({ absolute: "sites/7/announcements/#" });
    await world.pass(0);
    expect(came(world)).toEqual(["announcements/x 1 1"]);
    expect(JSON.stringify(world.dialer.last.of("subscribe"))).toContain("sites/7/announcements/#");
    await expect(device.publish({ absolute: "a/+" }, "1")).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    await expect(device.publish({} as never, "1")).rejects.toMatchObject({ code: "INVALID_TOPIC" });
    expect(() => device.subscribe({ absolute: "" })).toThrow(expect.objectContaining({ code: "INVALID_FILTER" }));
  });

  it("signs in by the client id and user name of its templates, and lives below a base that begins with a slash", async () => {
    const { world, device } = await started({
      clientId: "projects/p/devices/{id}",
      username: "{id}@site-7",
      login: () => ({ password: "p" }),
      topicBase: "/devices/{id}",
    });
    const [connect] = world.dialer.last.of("connect");
    expect([connect?.["clientId"], connect?.["username"]]).toEqual([`projects/p/devices/${ID}`, `${ID}@site-7`]);
    expect(device.topic("events")).toBe(`/devices/${ID}/events`);
  });

  it.each(["", "/", "//a", "a//b", "a/+", "a/#", "$SYS/x", "a/{site}", "a/"])("refuses the base %j", async (topicBase) => {
    const world = await World.provisioned();
    expect(() => boot(world, { topicBase })).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }));
  });
});

describe("A device that is started", () => {
  it("signs in with its id, for a session that lasts", async () => {
    const { world, device } = await started();
    expect(world.dialer.last.received[0]).toMatchObject({
      cmd: "connect",
      protocolVersion: 5,
      clientId: ID,
      clean: false,
      keepalive: 60,
      properties: { sessionExpiryInterval: 0xffff_ffff },
    });
    expect(world.dialer.last.timeoutMs).toBe(20_000);
    expect([device.status.state, device.status.credential]).toEqual(["online", "mtls"]);
    expect(world.news()).toEqual(["connecting", "connected"]);
  });

  it("asks the broker for no packet that its memory may not hold, and passes over and reports one that comes all the same", async () => {
    const told = async (config: Partial<DeviceConfig>): Promise<unknown> =>
      (await started(config)).world.dialer.last.received[0]!.properties;
    expect(await told({})).toMatchObject({ maximumPacketSize: 10_240 });
    expect(await told({ maximumPacketSizeBytes: 4_000 })).toMatchObject({ maximumPacketSize: 4_000 });
    const { world } = await started(
      {},
      {
        next: [
          accepting({
            subscribe: () => ({
              cmd: "publish",
              topic: `devices/${ID}/down/x`,
              payload: "x".repeat(10_240),
              qos: 0,
              retain: false,
              dup: false,
            }),
          }),
        ],
      },
    );
    expect([world.of("disconnected"), world.of("message-dropped")]).toMatchObject([
      [],
      [{ topic: `devices/${ID}/down/x`, code: "PACKET_TOO_LARGE" }],
    ]);
  });

  it("takes the configuration's word for what has defaults", async () => {
    const will = { topic: "up/gone", payload: "gone", qos: 1, retain: true } as const;
    const config: Partial<DeviceConfig> = {
      protocolVersion: 4,
      keepAliveSeconds: 30,
      connectTimeoutMs: 5_000,
      will,
      sessionExpirySeconds: 60,
      backoff: { floorMs: 7_000 },
    };
    const { world } = await started(config, { next: [NO_NETWORK] });
    await world.pass(6_999);
    expect(world.dialer.peers).toHaveLength(1);
    await world.pass(1);
    const { received, timeoutMs } = world.dialer.last;
    expect([received[0]!.protocolVersion, received[0]!.keepalive, timeoutMs]).toEqual([4, 30, 5_000]);
    expect(received[0]!.will).toMatchObject({ topic: `devices/${ID}/up/gone`, qos: 1, retain: true });
  });

  it("judges the server by the time it knows has passed while nobody set its clock", async () => {
    const world = await World.provisioned();
    world.time.isTrusted = false;
    const buildTimeMs = world.time.wallMs() + 30 * DAY_MS;
    boot(world, { buildTimeMs }).start();
    await world.pass(0);
    expect(world.dialer.last.endpoint.validAtMs).toBe(buildTimeMs);
    const young = await World.provisioned();
    young.time.isTrusted = false;
    boot(young).start();
    expect(young.dialer.last.endpoint.validAtMs).toBe(young.stored.active!.certificate.notBeforeMs);
  });

  it("goes on trying, and says with what it failed until it is online", async () => {
    const { world, device } = await started({}, { next: [NO_NETWORK] });
    expect(device.status).toMatchObject({ state: "waiting", lastFailure: { code: "DNS_FAILED" } });
    await world.pass(5_000);
    expect(device.status.state).toBe("online");
    expect(device.status).not.toHaveProperty("lastFailure");
  });

  it("shows no failure while it is online, not even while a new certificate is proved", async () => {
    const world = await World.provisioned({ certificate: false });
    await world.storePending(IdentityStore.load(world.storage, world.keyStore));
    world.dialer.next = [NO_NETWORK, accepting({ subscribe: () => undefined })];
    const device = boot(world);
    device.start();
    await world.pass(5_000);
    expect([device.status.state, device.status.lastFailure]).toEqual(["online", undefined]);
  });
});

describe("Publishing", () => {
  it("goes under the device's own topics and settles with the acknowledgement", async () => {
    const { world, device } = await started();
    const sent = watch(device.publish("up/t", "21.5", { qos: 1 }));
    await world.pass(0);
    expect([came(world), sent]).toEqual([[`devices/${ID}/up/t 21.5 1`], { state: "resolved", value: { reasonCode: 0 } }]);
  });

  it("while offline waits in the outbox, also over a stop, and is delivered once", async () => {
    const { world, device } = await made();
    const early = watch(device.publish("up/t", "early", { qos: 1 }));
    await world.pass(60_000);
    expect([early.state, device.status.outbox]).toMatchObject(["pending", { messages: 1, inFlight: 0 }]);
    device.start();
    await world.pass(0);
    world.dialer.usually = accepting({ publish: () => undefined });
    world.dialer.last.wire.cut();
    await world.pass(5_000);
    const late = watch(device.publish("up/t", "late", { qos: 1 }));
    await world.pass(0);
    expect(late.state).toBe("pending");
    const stopped = device.stop();
    await world.pass(0);
    await stopped;
    expect(device.status.outbox.messages).toBe(1);
    world.dialer.usually = accepting();
    device.start();
    await world.pass(0);
    expect([early.state, late.state, device.status.outbox.messages]).toEqual(["resolved", "resolved", 0]);
    expect(came(world)).toEqual(["early", "late", "late"].map((text) => `devices/${ID}/up/t ${text} 1`));
  });

  it("tells every mistake by its promise, never by throwing", async () => {
    const { world, device } = await made({ outbox: { maxMessages: 1 } });
    const states = [
      watch(device.publish("up/t", "now or never")),
      watch(device.publish("up/#", "", { qos: 1 })),
      watch(device.publish("up/t", 5 as never, { qos: 1 })),
      watch(device.publish("up/t", "fits", { qos: 1, queue: true })),
      watch(device.publish("up/t", "does not fit", { qos: 1 })),
    ];
    await world.pass(0);
    expect(states.map(({ state }) => state)).toEqual(["NOT_CONNECTED", "INVALID_TOPIC", "BAD_OPTION", "resolved", "OUTBOX_FULL"]);
  });

  it("outlives a reboot where the outbox is persistent", async () => {
    const { world, device } = await made({ outbox: { persistent: true } });
    await device.publish("up/t", "before", { qos: 1, queue: true });
    await world.pass(0);
    const next = world.rebooted();
    boot(next, { outbox: { persistent: true } }).start();
    await next.pass(0);
    expect(came(next)).toEqual([`devices/${ID}/up/t before 1`]);
  });

  it("says which message was given up for lack of room", async () => {
    const { world, device } = await made({ outbox: { maxMessages: 1, overflow: "drop-oldest" } });
    const first = watch(device.publish("up/a", "1", { qos: 1 }));
    void device.publish("up/b", "2", { qos: 1 });
    await world.pass(0);
    expect([first.state, world.of("message-dropped")]).toEqual([
      "MESSAGE_DROPPED",
      [{ type: "message-dropped", topic: `devices/${ID}/up/a`, code: "MESSAGE_DROPPED" }],
    ]);
  });

  it("rejects when storage fails, and the device stays online", async () => {
    const { world, device } = await started({ outbox: { persistent: true } });
    world.storage.isFull = true;
    const refused = watch(device.publish("up/t", "x", { qos: 1 }));
    const kept = watch(device.publish("up/t", "y", { qos: 1, persist: false }));
    await world.pass(0);
    expect([refused.state, kept.state, device.status.state]).toEqual(["STORAGE_FULL", "resolved", "online"]);
  });
});

describe("Subscribing", () => {
  it("brings the device's own messages, and outlives connections and the broker's memory", async () => {
    const { world, device } = await started();
    const subscription = device.subscribe("down/#", { qos: 1 });
    const seen: string[] = [];
    void (async () => {
      for await (const message of subscription) seen.push(`${message.topic} ${message.text()}`);
    })();
    await world.pass(0);
    for (const text of ["one", "two"]) {
      world.dialer.last.send({
        cmd: "publish",
        topic: `devices/${ID}/down/led`,
        payload: text,
        qos: 1,
        messageId: 9,
        retain: false,
        dup: false,
      });
      await world.pass(0);
      world.dialer.last.wire.cut();
      await world.pass(5_000);
    }
    expect(seen).toEqual([`devices/${ID}/down/led one`, `devices/${ID}/down/led two`]);
    expect(
      world.dialer.last
        .of("subscribe")
        .flatMap(({ subscriptions }) => (subscriptions as { topic: string }[]).map(({ topic }) => topic))
        .sort(),
    ).toEqual([`devices/${ID}/down/#`, `devices/${ID}/identity/response`]);
  });

  it("says at once what can never be", async () => {
    const { device } = await started();
    device.subscribe("down/a");
    for (const [filter, code] of [
      ["down/a", "ALREADY_SUBSCRIBED"],
      ["down/#/a", "INVALID_FILTER"],
      ["identity/response", "ALREADY_SUBSCRIBED"],
    ] as const) {
      expect(() => device.subscribe(filter), filter).toThrow(expect.objectContaining({ code }));
    }
  });
});

describe("Listening", () => {
  it("brings every event until it is ended", async () => {
    const { world, device } = await made();
    const seen: string[] = [];
    const end = device.listen((event) => seen.push(event.type));
    device.start();
    await world.pass(0);
    end();
    end();
    world.dialer.last.wire.cut();
    await world.pass(5_000);
    expect(seen).toEqual(["connecting", "connected"]);
  });

  it("goes on for the others, and for the device, when a listener throws at every event", async () => {
    const world = await World.provisioned();
    const device = new Device({ broker: BROKER, recovery: RECOVERY }, world.platform);
    device.listen((event) => {
      throw event.type === "connected" ? "no error object" : new Error("a mistake");
    });
    device.listen((event) => world.events.push(event));
    world.dialer.next = [REVOKED, REVOKED];
    device.start();
    await world.pass(2_000);
    await world.issue();
    await world.pass(5_000);
    expect(world.of("recovered")).toHaveLength(1);
    const stopped = device.stop();
    await world.pass(0);
    await stopped;
    expect(world.news().at(-1)).toBe("stopped");
    expect(world.logged.filter((line) => line === "error: a listener threw").length).toBeGreaterThan(8);
  });

  const stopAt = async (type: DeviceEvent["type"], next: Behaviour[]): Promise<void> => {
    const { world, device } = await made({}, { next });
    let stop: Promise<void> | undefined;
    device.listen((event) => {
      if (event.type === type) stop ??= device.stop();
    });
    device.start();
    await world.pass(60_000);
    await stop;
    world.news();
    await world.pass(DAY_MS);
    expect([device.status.state, world.news(), world.dialer.peers.every(({ wire }) => wire.isClosed)]).toEqual(["stopped", [], true]);
  };

  it.each<[DeviceEvent["type"], Behaviour[]]>([
    ["connecting", []],
    ["disconnected", [REVOKED, REVOKED]],
    ["retrying", [REVOKED, REVOKED]],
    ["credential-changed", [REVOKED, REVOKED]],
  ])("may stop the device at %j, which is then stopped", (type, next) => stopAt(type, next));

  it.each<[DeviceEvent["type"], Behaviour[]]>([
    ["connected", []],
    ["renewing", [REVOKED, REVOKED]],
  ])("may stop the device at %j, which is then stopped", (type, next) => stopAt(type, next));
});

describe("Stopping", () => {
  it("says goodbye to the broker, then to the listeners; starting again is possible", async () => {
    const { world, device } = await started();
    world.news();
    const stopped = device.stop();
    await world.pass(0);
    await stopped;
    expect([world.dialer.last.of("disconnect").length, world.news(), device.status.state]).toEqual([1, ["stopped"], "stopped"]);
    device.start();
    await world.pass(0);
    expect([world.news(), device.status.state]).toEqual([["connecting", "connected"], "online"]);
  });

  it("leaves nothing running: no renewal, no token, no report", async () => {
    const lastWords: Behaviour = accepting({ publish: () => undefined });
    const { world, device } = await started(
      { token: { audience: "a", lifetimeSeconds: 3_600 } },
      { usually: lastWords, lifetimeMs: DAY_MS },
    );
    device.renew();
    await world.pass(0);
    const stopped = device.stop();
    await world.pass(0);
    await stopped;
    world.news();
    await world.pass(DAY_MS);
    expect([world.news(), world.dialer.peers.length, world.time.timers]).toEqual([[], 1, 0]);
  });
});

describe("The order of events", () => {
  it("says stopped before it says that the device connects again", async () => {
    const { world, device } = await started();
    world.news();
    void device.stop();
    device.start();
    await world.pass(5_000);
    expect(world.news()).toEqual(["stopped", "connecting", "connected"]);
  });

  it("says stopped once for one end, however often it was asked for", async () => {
    const { world, device } = await started();
    world.news();
    const all = Promise.all([device.stop(), device.stop()]);
    await world.pass(0);
    await all;
    expect(world.news()).toEqual(["stopped"]);
  });

  it("does not say stopped of a device that goes on", async () => {
    const { world, device } = await started();
    world.news();
    const stopped = device.stop();
    device.start();
    await world.pass(5_000);
    await stopped;
    expect([device.status.state, world.news().at(-1)]).toEqual(["online", "connected"]);
  });

  it("is the same for a listener that is added twice: one call an event, until it is ended", async () => {
    const { world, device } = await made();
    let calls = 0;
    const listener = (): void => void calls++;
    const end = device.listen(listener);
    device.listen(listener);
    device.start();
    await world.pass(0);
    expect(calls).toBe(2);
    end();
    world.dialer.last.wire.cut();
    await world.pass(0);
    expect(calls).toBe(2);
  });
});

describe("Messages", () => {
  it("published while the device reconnects to prove a certificate arrive all and in order", async () => {
    const { world, device } = await started();
    device.renew();
    await world.pass(0);
    const states: { state: string }[] = [];
    let count = 0;
    const publish = (): void => void states.push(watch(device.publish("up/t", String(count++), { qos: 1 })));
    device.listen(publish);
    await world.issue();
    for (let i = 0; i < 20; i++) {
      publish();
      await world.pass(25);
    }
    await world.pass(5_000);
    expect(world.of("renewed")).toHaveLength(1);
    expect(states.every(({ state }) => state === "resolved")).toBe(true);
    // What was in flight when the connection ended may come again: QoS 1.
    expect([...new Set(came(world))]).toEqual(Array.from({ length: count }, (_, i) => `devices/${ID}/up/t ${i} 1`));
  });
});

describe("Power", () => {
  it("may fail at any write of a renewal: the next life has a certificate that works, and finishes what was begun", async () => {
    const config = { outbox: { persistent: true } };
    let lastCut = 0;
    for (let writes = 0; lastCut === writes - 1 || writes === 0; writes++) {
      const { world, device } = await started(config);
      const oldSerial = world.serial;
      world.storage.writesBeforeCut = world.storage.writes + writes;
      world.storage.onCut = () => {
        lastCut = writes;
        for (const { wire } of world.dialer.peers) wire.isDead = true;
      };
      device.renew();
      await world.pass(0);
      if (world.enrolments.length > 0) await world.issue();
      await world.pass(5_000);
      const next = world.rebooted();
      const again = boot(next, config);
      again.start();
      again.renew();
      await next.pass(0);
      expect(again.status.state, `write ${writes}`).toBe("online");
      for (let i = 0; i < 3 && next.of("renewed").length === 0; i++) {
        if (next.enrolments.length > 0) await next.issue();
        await next.pass(5_000);
      }
      expect([again.status.state, again.status.serial === oldSerial, next.serial === again.status.serial], `write ${writes}`).toEqual([
        "online",
        false,
        true,
      ]);
    }
    expect(lastCut).toBeGreaterThan(3);
  });
});

describe("Renewal", () => {
  it("happens by itself at two thirds of the certificate's life, is proved, committed, told and reported", async () => {
    const { world, device } = await started({ keepAliveSeconds: 65_535 }, { lifetimeMs: 30 * DAY_MS });
    const oldSerial = world.serial;
    await world.pass(19 * DAY_MS);
    expect(world.enrolments).toEqual([]);
    for (let hour = 0; hour < 24 && world.enrolments.length === 0; hour++) await world.pass(DAY_MS / 24);
    expect([world.enrolments.length, world.of("renewing")]).toEqual([1, [{ type: "renewing", reason: "due" }]]);
    world.news();
    await world.issue();
    expect(device.status.pendingSerial).toBeDefined();
    await world.pass(1_000);
    expect(world.news()).toEqual(["pending", "connecting", "connected", "renewed"]);
    expect(device.status).not.toHaveProperty("pendingSerial");
    expect([device.status.serial === oldSerial, world.serial === device.status.serial, world.reports]).toEqual([
      false,
      true,
      [world.serial],
    ]);
    expect([world.stored.unreported, world.keys.has("key-a"), world.keys.has("key-b")]).toEqual([false, false, true]);
  });

  it("can be asked for, also before there is a connection", async () => {
    const { world, device } = await made();
    device.renew();
    device.start();
    await world.pass(0);
    expect([world.enrolments.length, world.of("renewing")]).toEqual([1, [{ type: "renewing", reason: "asked" }]]);
  });

  it("goes on after a reboot at any point of it", async () => {
    const config = { outbox: { persistent: true } };
    let { world, device } = await started(config);
    const oldSerial = world.serial;
    const rebooted = async (behaviour = accepting()): Promise<void> => {
      world = world.rebooted();
      world.dialer.usually = behaviour;
      device = boot(world, config);
      device.start();
      await world.pass(0);
    };
    device.renew();
    await world.pass(0);
    await rebooted();
    expect(world.enrolments, "asks again").toHaveLength(1);
    world.dialer.usually = NO_NETWORK;
    await world.issue();
    await rebooted(accepting({ publish: () => undefined }));
    expect([world.of("renewed").length, world.serial === oldSerial, world.reports.length], "proves").toEqual([1, false, 1]);
    await rebooted();
    expect([world.reports, world.stored.unreported, device.status.serial], "reports").toEqual([[world.serial], false, world.serial]);
  });

  it("leaves the old certificate in use when the broker refuses the new one", async () => {
    const { world, device } = await started();
    const serial = device.status.serial;
    device.renew();
    await world.pass(0);
    world.dialer.next = [REVOKED, REVOKED];
    await world.issue();
    await world.pass(10_000);
    expect([device.status.state, device.status.serial, world.of("identity-dropped").length]).toEqual(["online", serial, 1]);
  });
});

describe("Recovery", () => {
  it("fetches a new certificate over the pre-shared key, and nothing of the application's goes that way", async () => {
    const { world, device } = await started(
      { will: { topic: "up/gone", payload: "" }, login: () => ({ password: "secret" }) },
      { next: [REVOKED, REVOKED] },
    );
    device.subscribe("down/#");
    const message = watch(device.publish("up/t", "private", { qos: 1 }));
    await world.pass(2_000);
    expect(device.status).toMatchObject({ state: "recovering", credential: "psk" });
    const psk = world.dialer.last;
    expect(psk.received.map(({ cmd }) => cmd)).toEqual(["connect", "subscribe", "publish"]);
    expect([psk.received[0]!.will, psk.received[0]!.username, psk.received[0]!.password, came(world), message.state]).toEqual([
      undefined,
      undefined,
      undefined,
      [],
      "pending",
    ]);
    await world.issue();
    await world.pass(1_000);
    expect([device.status.state, message.state, world.of("recovered")]).toEqual([
      "online",
      "resolved",
      [{ type: "recovered", serial: world.serial }],
    ]);
    expect(world.reports).toEqual([world.serial]);
  });

  it("brings a device from the factory its first certificate", async () => {
    const { world, device } = await started({}, { certificate: false });
    expect(device.status).not.toHaveProperty("serial");
    await world.pass(1_000);
    await world.issue();
    await world.pass(1_000);
    expect([device.status.state, device.status.credential, device.status.serial]).toEqual(["online", "mtls", world.serial]);
  });

  it("is not sought for the network's faults, however long they last", async () => {
    const { world } = await started({}, { usually: NO_NETWORK });
    await world.pass(DAY_MS);
    expect([world.of("credential-changed"), new Set(world.dialer.peers.map(({ endpoint }) => endpoint.host))]).toEqual([
      [],
      new Set([BROKER.host]),
    ]);
  });

  it("is not possible where none is configured", async () => {
    const world = await World.provisioned();
    world.dialer.usually = REVOKED;
    const device = new Device({ broker: BROKER }, world.platform);
    device.start();
    await world.pass(DAY_MS);
    expect(world.dialer.peers.every(({ credential }) => credential.kind === "mtls")).toBe(true);
  });
});

describe("The second factor", () => {
  it("is a password asked for before each connection, with the device's id for a name", async () => {
    let count = 0;
    const { world } = await started({ login: () => ({ password: `p${++count}` }) });
    world.dialer.last.wire.cut();
    await world.pass(5_000);
    const connects = world.dialer.peers.map((peer) => peer.received[0]!);
    expect(connects.map(({ username, password }) => `${String(username)} ${String(password)}`)).toEqual([`${ID} p1`, `${ID} p2`]);
  });

  it("may be a name alone, or nothing for once", async () => {
    const { world } = await started({ login: () => ({ username: "u" }) });
    expect(world.dialer.last.received[0]).toMatchObject({ username: "u" });
    const none = await started({ login: () => ({}) });
    expect(none.world.dialer.last.received[0]).not.toHaveProperty("username");
  });

  it("is a token signed by the device's key, made anew in time by a reconnect that is no failure", async () => {
    const { world, device } = await started({ token: { audience: "mqtt.test", lifetimeSeconds: 3_600 } });
    const token = (): string => String(world.dialer.last.received[0]!.password);
    const [header, claims = "", signature = ""] = token().split(".");
    const key = createPublicKey({ key: Buffer.from(world.keys.publicKey("key-a")), format: "der", type: "spki" });
    expect(
      verify("sha256", Buffer.from(`${header}.${claims}`), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")),
    ).toBe(true);
    expect(world.dialer.last.received[0]).toMatchObject({ username: ID });
    const expires = (JSON.parse(Buffer.from(claims, "base64url").toString()) as { exp: number }).exp * 1_000;
    expect(expires).toBe(world.time.wallMs() + 3_600_000);
    world.news();
    await world.pass(3_600_000 - 1_000);
    expect([world.news(), world.dialer.peers.length, device.status.state]).toEqual([["connecting", "connected"], 2, "online"]);
    expect(token()).not.toContain(claims);
  });

  it("has the user name of the configuration, and is not shown to the recovery broker", async () => {
    const { world } = await started({ token: { audience: "a", lifetimeSeconds: 60, username: "u" } });
    expect(world.dialer.last.received[0]).toMatchObject({ username: "u" });
    world.dialer.next = [REVOKED, REVOKED];
    world.dialer.last.wire.cut();
    await world.pass(5_000);
    expect(world.dialer.last.credential.kind).toBe("psk");
    expect(world.dialer.last.received[0]).not.toHaveProperty("password");
    const dialled = world.dialer.peers.length;
    // Refreshes come every 51 s; a recovery that stalls ends after three minutes.
    await world.pass(150_000);
    expect(world.dialer.peers.length, "no token, no refresh").toBe(dialled);
  });

  it("costs one attempt when the key store cannot sign, not the device", async () => {
    const world = await World.provisioned();
    world.brokenKeyCalls.add("sign");
    const device = boot(world, { token: { audience: "a", lifetimeSeconds: 60 } });
    device.start();
    await world.pass(0);
    expect(world.of("disconnected")).toMatchObject([{ class: "local", wasConnected: false }]);
    world.brokenKeyCalls.clear();
    await world.pass(5_000);
    expect(device.status.state).toBe("online");
  });
});

describe("A device whose surroundings fail", () => {
  it("hears the authority again a minute after the broker refused to let it", async () => {
    const refusal = accepting({ subscribe: ({ messageId }) => ({ cmd: "suback", messageId: messageId!, granted: [0x87] }) });
    const { world, device } = await started({}, { next: [refusal] });
    expect(world.logged).toEqual(["error: the broker does not let this device hear the authority"]);
    Object.assign(world.dialer.last.behaviour, accepting());
    await world.pass(61_000);
    device.renew();
    await world.pass(0);
    await world.issue();
    await world.pass(1_000);
    expect(world.of("renewed")).toHaveLength(1);
  });

  it("stays online when the time cannot be stored, and stores it while a broker has proved itself only", async () => {
    const world = await World.provisioned();
    world.storage.isFull = true;
    const device = boot(world);
    device.start();
    await world.pass(0);
    expect([device.status.state, world.logged]).toEqual([
      "online",
      ["warn: the trusted time could not be stored", "warn: the record of subscriptions cannot be stored"],
    ]);
    const recovering = await started({}, { certificate: false });
    await recovering.world.pass(1_000);
    expect(recovering.world.storage.list("time")).toEqual([]);
    await recovering.world.issue();
    await recovering.world.pass(1_000);
    expect(recovering.world.storage.list("time")).toEqual(["time-floor"]);
  });

  it("goes on with the certificate it has when nothing can be stored any more, whatever becomes of a new one", async () => {
    const { world, device } = await started();
    device.renew();
    await world.pass(0);
    await world.issue();
    world.storage.isFull = true;
    await world.pass(60_000);
    let onlineSeconds = 0;
    for (let second = 0; second < 600; second++) {
      await world.pass(1_000);
      if (device.status.state === "online") onlineSeconds++;
    }
    expect(onlineSeconds).toBeGreaterThan(400);
  });

  it("ignores what an authority says that nobody asked", async () => {
    const { world, device } = await started();
    world.news();
    await world.answer({ requestId: "00", chain: ["AQI="] });
    await world.answer({ requestId: 5 });
    expect([world.news(), device.status.state]).toEqual([[], "online"]);
  });

  it("goes where the broker sends it, when the configuration allows that", async () => {
    const { world } = await started({ redirects: ["other.test:8885"] }, { next: [refusing(0x9d, { serverReference: "other.test:8885" })] });
    await world.pass(5_000);
    expect([world.of("redirected").length, world.dialer.last.endpoint.host]).toEqual([1, "other.test"]);
  });

  it("sends nothing when no broker answers, and keeps what it has", async () => {
    const { world, device } = await started({}, { usually: accepting({ connect: () => undefined }) });
    void device.publish("up/t", "x", { qos: 1 });
    await world.pass(120_000);
    expect([came(world), device.status.outbox.messages, world.of("disconnected")[0]!.code]).toEqual([[], 1, "CONNECT_TIMEOUT"]);
  });
});
