/** A device whose certificates are issued by something else than Hawser's authority, in the place that `enrolment` gives it. */
import { describe, expect, it } from "vitest";
import { accepting, failing, refusing, type Peer } from "../../test/support/device/scripted-dialer.js";
import { BROKER, DAY_MS, RECOVERY, World, type WorldOptions } from "../../test/support/device/test-world.js";
import type { LibraryPacket } from "../../test/support/mqtt/scripted-broker.js";
import { failure } from "../failure.js";
import type { CurrentIdentity, Enrolment, EnrolmentReply } from "../identity/enrolment-port.js";
import { Device, type DeviceConfig } from "./device.js";

const ANSWER_TIMEOUT_MS = 30_000;

interface Asked {
  csr: Uint8Array;
  current: CurrentIdentity | undefined;
  answer: (reply: EnrolmentReply) => void;
  fail: (error: unknown) => void;
}

/** Answers when the test says so. */
class Issuer implements Enrolment {
  readonly asked: Asked[] = [];

  request(csr: Uint8Array, current: CurrentIdentity | undefined): Promise<EnrolmentReply> {
    return new Promise((answer, fail) => this.asked.push({ csr, current, answer, fail }));
  }
}

class Site {
  readonly issuer = new Issuer();
  readonly device: Device;

  constructor(
    readonly world: World,
    config: Partial<DeviceConfig> = {},
  ) {
    this.device = new Device({ broker: BROKER, enrolment: this.issuer, ...config }, world.platform);
    this.device.listen((event) => world.events.push(event));
  }

  static async started(options: WorldOptions = {}, config: Partial<DeviceConfig> = {}): Promise<Site> {
    const site = new Site(await World.provisioned({ psk: false, ...options }), config);
    site.device.start();
    await site.world.pass(0);
    return site;
  }

  async chain(asked: Asked): Promise<Uint8Array[]> {
    return [await this.world.issueFor(asked.csr)];
  }

  /** A certificate for one of the requests, the last where none is named. */
  async issue(at = -1): Promise<void> {
    const asked = this.issuer.asked.at(at)!;
    asked.answer({ chain: await this.chain(asked) });
    await this.world.pass(5_000);
  }
}

describe("A device with an enrolment of its own", () => {
  it("asks it when the certificate is due, and replaces it once the broker has accepted the new one", async () => {
    const { world, issuer, ...site } = await Site.started({ lifetimeMs: DAY_MS });
    const before = world.serial;
    await world.pass(0.6 * DAY_MS);
    expect(issuer.asked).toEqual([]);
    await world.pass(0.0418 * DAY_MS);
    expect(issuer.asked).toMatchObject([{ current: { keySlot: "key-a", chain: [expect.any(Uint8Array)] } }]);
    expect(Buffer.from(issuer.asked[0]!.csr).includes(Buffer.from(world.keys.publicKey("key-b")))).toBe(true);
    issuer.asked[0]!.answer({ chain: [await world.issueFor(issuer.asked[0]!.csr)] });
    await world.pass(5_000);
    expect(world.of("renewed")).toMatchObject([{ oldSerial: before, newSerial: world.serial }]);
    expect([site.device.status.serial, world.keys.has("key-a")]).toEqual([world.serial, false]);
    expect(world.serial).not.toBe(before);
  });

  it("needs no topic of an authority: neither for the request, nor for the proof, nor to report it", async () => {
    const site = await Site.started();
    site.device.renew();
    await site.world.pass(0);
    await site.issue();
    await site.world.pass(DAY_MS);
    const packets = site.world.dialer.peers.flatMap((peer) => [...peer.of("subscribe"), ...peer.of("publish")]);
    expect([site.world.of("renewed").length, packets]).toEqual([1, []]);
  });

  it("keeps the old certificate where the broker refuses the new one", async () => {
    const site = await Site.started();
    const { world } = site;
    const before = world.serial;
    site.device.renew();
    await world.pass(0);
    world.dialer.next = [failing(failure("CERTIFICATE_CA_UNKNOWN", "unknown CA", { alert: 48 }))];
    await site.issue();
    expect([world.of("identity-dropped").length, world.serial, site.device.status.state]).toEqual([1, before, "online"]);
  });

  it("takes no recovery: over the pre-shared key there is nobody to ask", async () => {
    const world = await World.provisioned();
    expect(() => new Device({ broker: BROKER, recovery: RECOVERY, enrolment: new Issuer() }, world.platform)).toThrow(
      expect.objectContaining({ code: "BAD_CONFIG", message: "recovery must be left out without enrolment: true" }) as Error,
    );
  });

  it("tells why it was refused, and waits as long as the other side asks, within bounds", async () => {
    const site = await Site.started();
    const { world, issuer } = site;
    site.device.renew();
    await world.pass(0);
    issuer.asked[0]!.answer({ error: { code: "EST_PENDING", message: "not yet", retryAfterSeconds: 600 } });
    await world.pass(0);
    expect(world.of("renewal-failed")).toMatchObject([{ code: "EST_PENDING", message: "not yet", retryMs: 602_500 }]);
    await world.pass(602_000);
    expect(issuer.asked).toHaveLength(1);
    await world.pass(1_000);
    issuer.asked[1]!.answer({ error: { code: "EST_PENDING", message: "", retryAfterSeconds: 1e9 } });
    await world.pass(0);
    // A tenth of what is left of the certificate.
    expect(world.of("renewal-failed").at(-1)!.retryMs).toBeLessThan(9.1 * DAY_MS);
  });

  it.each([
    ["rejects", (asked: Asked) => asked.fail(new Error("no route")), "INTERNAL"],
    ["answers something else", (asked: Asked) => asked.answer({} as EnrolmentReply), "INTERNAL"],
    ["answers with an empty chain", (asked: Asked) => asked.answer({ chain: [] }), "BAD_CERTIFICATE"],
    ["answers with rubbish", (asked: Asked) => asked.answer({ chain: [Uint8Array.of(1, 2, 3)] }), "BAD_CERTIFICATE"],
  ])("asks again, for the same key, where it %s", async (_, behave, code) => {
    const site = await Site.started();
    const { world, issuer } = site;
    site.device.renew();
    await world.pass(0);
    behave(issuer.asked[0]!);
    await world.pass(5_000);
    expect(world.of("renewal-failed")).toMatchObject([{ code }]);
    expect(issuer.asked).toHaveLength(2);
    const key = Buffer.from(world.keys.publicKey("key-b"));
    expect(issuer.asked.map(({ csr }) => Buffer.from(csr).includes(key))).toEqual([true, true]);
    await site.issue();
    expect(world.of("renewed")).toHaveLength(1);
  });

  it("that throws at once is asked again as well", async () => {
    const world = await World.provisioned({ psk: false });
    let calls = 0;
    const enrolment: Enrolment = {
      request: () => {
        calls++;
        throw new Error("not today");
      },
    };
    const site = new Site(world, { enrolment });
    site.device.start();
    site.device.renew();
    await world.pass(3_000);
    expect([calls, world.of("renewal-failed")[0]?.message]).toEqual([2, "not today"]);
  });

  it.each([
    ["of another CA", "UNTRUSTED_CERTIFICATE", async (site: Site, asked: Asked) => ((site.world.trustsIssuer = false), site.chain(asked))],
    [
      "for another name",
      "WRONG_SUBJECT",
      async (site: Site, { csr }: Asked) => [await site.world.issueFor(csr, DAY_MS, { subject: "CN=meter-8" })],
    ],
    ["for another key", "KEY_MISMATCH", async (site: Site) => [await site.world.issueFor(site.world.keys.csr("key-a", site.device.id))]],
  ] as const)("does not take a chain %s", async (_, code, chain) => {
    const site = await Site.started();
    const before = site.world.serial;
    site.device.renew();
    await site.world.pass(0);
    const asked = site.issuer.asked[0]!;
    asked.answer({ chain: await chain(site, asked) });
    await site.world.pass(0);
    expect([site.world.of("renewal-failed"), site.world.stored.pending]).toMatchObject([[{ code }], undefined]);
    expect([site.device.status.serial, site.device.status.state]).toEqual([before, "online"]);
  });
});

describe("An answer of such an enrolment", () => {
  it("that never comes is waited for 30 seconds, and asked for again ever later", async () => {
    const { world, issuer, device } = await Site.started();
    device.renew();
    await world.pass(ANSWER_TIMEOUT_MS);
    expect(world.of("renewal-failed")).toMatchObject([{ code: "NO_ANSWER", retryMs: 2_500 }]);
    await world.pass(DAY_MS);
    // At least half an hour apart on average once the backoff has grown, and no timer is left behind for each.
    expect(issuer.asked.length).toBeGreaterThan(10);
    expect(issuer.asked.length).toBeLessThan(70);
    expect(world.time.timers).toBeLessThan(8);
  });

  it("that comes late, while another is asked for, counts; the second is passed over", async () => {
    const site = await Site.started();
    const { world, issuer } = site;
    site.device.renew();
    await world.pass(ANSWER_TIMEOUT_MS + 2_500);
    expect(issuer.asked).toHaveLength(2);
    await site.issue(0);
    const [renewed] = world.of("renewed");
    await site.issue(1);
    await world.pass(DAY_MS);
    expect([world.of("renewed"), world.serial, issuer.asked.length]).toEqual([[renewed], renewed!.newSerial, 2]);
    expect(world.of("renewal-failed")).toMatchObject([{ code: "NO_ANSWER" }]);
  });

  it("that fails late says nothing about the request that is under way", async () => {
    const site = await Site.started();
    const { world, issuer } = site;
    site.device.renew();
    await world.pass(ANSWER_TIMEOUT_MS + 2_500);
    issuer.asked[0]!.fail(new Error("timed out long ago"));
    await world.pass(0);
    await site.issue(1);
    expect([world.of("renewal-failed").length, world.of("renewed").length]).toEqual([1, 1]);
  });

  it("outlives the end of the connection that it was asked during", async () => {
    const site = await Site.started();
    const { world, issuer } = site;
    site.device.renew();
    await world.pass(0);
    world.dialer.last.wire.cut();
    await world.pass(10_000);
    await site.issue();
    expect([world.of("renewed").length, issuer.asked.length]).toEqual([1, 1]);
  });

  it("is waited for no more after a stop, and the next start asks for the same key", async () => {
    const site = await Site.started();
    const { world, issuer, device } = site;
    device.renew();
    await world.pass(0);
    void device.stop();
    await world.pass(0);
    world.events.length = 0;
    await site.issue();
    await world.pass(DAY_MS);
    expect([world.events, world.stored.pending, world.time.timers]).toEqual([[], undefined, 0]);
    device.start();
    await world.pass(0);
    expect(issuer.asked).toHaveLength(2);
    await site.issue();
    expect(world.of("renewed")).toHaveLength(1);
  });

  it("is waited for by a waking, and the device then sleeps with the new certificate", async () => {
    const world = await World.provisioned({ psk: false, lifetimeMs: DAY_MS });
    world.time.wallOffsetMs += 0.7 * DAY_MS;
    const site = new Site(world);
    const delivered = site.device.deliver([], { withinMs: 20_000 });
    await world.pass(3_000);
    await site.issue();
    await world.pass(15_000);
    await delivered;
    expect([world.of("renewed").length, site.device.status.state]).toEqual([1, "stopped"]);
  });

  it("that a power cut came before is asked for again, for the same key; one that was stored is proved", async () => {
    const site = await Site.started();
    site.device.renew();
    await site.world.pass(0);
    const lost = await site.chain(site.issuer.asked[0]!);
    const booted = new Site(site.world.rebooted());
    booted.device.start();
    await booted.world.pass(0);
    expect(booted.issuer.asked).toHaveLength(1);
    // The other side remembers whom it has issued for, and gives out the same.
    booted.issuer.asked[0]!.answer({ chain: lost });
    await booted.world.pass(0);
    expect(booted.world.of("pending")).toHaveLength(1);
    const again = new Site(booted.world.rebooted());
    again.device.start();
    await again.world.pass(1_000);
    expect([again.issuer.asked, again.world.of("renewed").length]).toEqual([[], 1]);
  });
});

describe("Without a connection", () => {
  it("a device that has no certificate yet asks for its first", async () => {
    const site = await Site.started({ certificate: false });
    const { world, issuer } = site;
    expect([world.dialer.peers, issuer.asked.length, issuer.asked[0]?.current]).toEqual([[], 1, undefined]);
    await site.issue();
    expect([site.device.status.state, world.of("renewed").length]).toEqual(["online", 1]);
  });

  it("one whose certificate has expired asks for another, though the broker refuses it", async () => {
    const world = await World.provisioned({ psk: false, lifetimeMs: DAY_MS });
    world.time.wallOffsetMs += 30 * DAY_MS;
    const isNew = ({ credential }: Peer): boolean => credential.kind === "mtls" && credential.slot === "key-b";
    const connack = (reasonCode: number): LibraryPacket => ({ cmd: "connack", sessionPresent: false, reasonCode, returnCode: reasonCode });
    let isCut = false;
    // The new certificate's first proof meets a network that fails. The expired one is refused as before: the new one is shown again.
    const cutOnce = (peer: Peer): void => {
      if (isCut || !isNew(peer)) return;
      isCut = true;
      peer.wire.isDead = true;
      peer.time.after(0, () => peer.wire.cut(failure("CONNECTION_RESET", "reset")));
    };
    world.dialer.usually = { ...accepting({ connect: (_, peer) => connack(isNew(peer) ? 0 : 0x87) }), dialled: cutOnce };
    const site = new Site(world);
    site.device.start();
    await world.pass(60_000);
    expect(world.of("renewal-failed")).toMatchObject([{ code: "NO_ANSWER" }]);
    const asked = site.issuer.asked.at(-1)!;
    asked.answer({ chain: await site.chain(asked) });
    await world.pass(600_000);
    expect([isCut, site.device.status.state, world.of("renewed").length]).toEqual([true, "online", 1]);
  });

  it("one that was started while it stopped asks as well", async () => {
    const world = await World.provisioned({ psk: false, lifetimeMs: DAY_MS });
    const site = new Site(world);
    site.device.start();
    await world.pass(0);
    world.time.wallOffsetMs += 30 * DAY_MS;
    world.dialer.usually = refusing(0x87);
    void site.device.stop();
    site.device.start();
    await world.pass(0);
    expect([site.device.status.state === "stopped", site.issuer.asked.length]).toEqual([false, 1]);
  });
});
