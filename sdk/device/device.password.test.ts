import { describe, expect, it } from "vitest";
import { accepting, refusing } from "../../test/support/device/scripted-dialer.js";
import { TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { BROKER, DAY_MS, RECOVERY, World } from "../../test/support/device/test-world.js";
import { IdentityStore } from "../identity/store.js";
import { Device, type DeviceConfig } from "./device.js";

const CREDENTIAL = { kind: "password", id: "meter-7", trustAnchors: [TEST_ANCHOR] } as const;
const BY_PASSWORD: DeviceConfig = { broker: BROKER, credential: CREDENTIAL, login: () => ({ password: "s3cret" }) };

async function started(config: DeviceConfig): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  return { world, device: start(world, config) };
}

function start(world: World, config: DeviceConfig): Device {
  const device = new Device(config, world.platform);
  device.listen((event) => world.events.push(event));
  device.start();
  return device;
}

describe("A device that signs in by password alone", () => {
  it("needs no identity in storage, shows no certificate, and sends its id as client id and user name", async () => {
    const world = await World.provisioned({ certificate: false, psk: false });
    world.storage.records.clear();
    const device = start(world, BY_PASSWORD);
    await world.pass(0);
    const { last } = world.dialer;
    expect(last.credential).toEqual({ kind: "server-auth", trustAnchors: [TEST_ANCHOR] });
    expect(last.received[0]).toMatchObject({ cmd: "connect", clientId: "meter-7", username: "meter-7" });
    expect(device.status).toMatchObject({ state: "online", id: "meter-7", credential: "password" });
    expect([device.topic("up/x"), world.storage.records.size]).toEqual(["devices/meter-7/up/x", 0]);
  });

  it("is waited for by online(), and delivers in one waking", async () => {
    const world = await World.provisioned();
    const device = new Device(BY_PASSWORD, world.platform);
    const online = watch(device.online());
    const delivered = watch(device.deliver([{ topic: "up/x", payload: "1" }], { withinMs: 5_000 }));
    await world.pass(10_000);
    expect([online.state, delivered.state]).toEqual(["resolved", "resolved"]);
    expect(delivered.value).toMatchObject({ messages: [{ state: "confirmed" }], waiting: 0 });
    expect(device.status.state).toBe("stopped");
  });

  it("leaves a certificate that lies in storage as it is, and shows it to nobody", async () => {
    const { world } = await started(BY_PASSWORD);
    const before = world.serial;
    await world.pass(DAY_MS / 4);
    expect(new Set(world.dialer.peers.map(({ credential }) => credential.kind))).toEqual(new Set(["server-auth"]));
    expect(world.serial).toBe(before);
  });

  it("asks for its password before each connection, so that it may change", async () => {
    const passwords = ["first", "second"];
    const { world } = await started({ ...BY_PASSWORD, login: () => ({ username: "u", password: passwords.shift() ?? "" }) });
    await world.pass(0);
    world.dialer.last.wire.cut();
    await world.pass(DAY_MS / 24);
    const sent = world.dialer.peers.map(({ received }) => String(received[0]?.["password"]));
    expect(sent.slice(0, 2)).toEqual(["first", "second"]);
  });

  it("does not sign in without a password", async () => {
    const { world } = await started({ ...BY_PASSWORD, login: () => ({ username: "u" }) });
    await world.pass(0);
    expect(world.of("disconnected")).toMatchObject([{ code: "LOGIN_FAILED", class: "local", credential: "password" }]);
    expect(world.dialer.peers.flatMap(({ received }) => received)).toEqual([]);
  });

  it.each([0x86, 0x87])("keeps trying, and changes nothing, while the broker refuses it with %i", async (reasonCode) => {
    const world = await World.provisioned();
    world.dialer.usually = refusing(reasonCode);
    const device = start(world, { ...BY_PASSWORD, protocolVersion: 5 });
    await world.pass(DAY_MS / 4);
    expect(world.of("login-refused").length).toBeGreaterThan(3);
    expect([world.of("credential-changed"), world.enrolments, device.status.credential]).toEqual([[], [], "password"]);
    world.dialer.usually = accepting();
    await world.pass(DAY_MS / 24);
    expect(device.status.state).toBe("online");
  });
});

describe("A device with enrolment off", () => {
  it("shows its certificate, hears no authority and asks for nothing, however old the certificate is", async () => {
    const world = await World.provisioned({ lifetimeMs: DAY_MS / 4 });
    const device = start(world, { broker: BROKER, enrolment: false });
    await world.pass(DAY_MS / 5);
    const packets = world.dialer.peers.flatMap((peer) => [...peer.of("subscribe"), ...peer.of("publish")]);
    expect(packets).toEqual([]);
    expect([device.status.state, device.status.credential]).toEqual(["online", "mtls"]);
    expect(() => device.renew()).toThrow(expect.objectContaining({ code: "ENROLMENT_OFF" }) as Error);
  });

  it("does not show a new certificate that nothing could prove, and keeps it for the day enrolment is on again", async () => {
    const world = await World.provisioned();
    const pending = await world.storePending(IdentityStore.load(world.storage, world.keys));
    start(world, { broker: BROKER, enrolment: false });
    await world.pass(0);
    expect(world.of("connected")).toMatchObject([{ credential: "mtls", serial: world.serial }]);
    expect(world.stored.pending?.certificate.serial).toBe(pending);
  });

  it("takes no recovery, which is an enrolment", async () => {
    const world = await World.provisioned();
    const attempt = (): Device => new Device({ broker: BROKER, recovery: RECOVERY, enrolment: false }, world.platform);
    expect(attempt).toThrow(expect.objectContaining({ code: "BAD_CONFIG" }) as Error);
  });
});
