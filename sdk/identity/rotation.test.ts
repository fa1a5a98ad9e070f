import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { MqttClient } from "../mqtt/client.js";
import type { MqttOptions } from "../mqtt/contract/options.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { accepting, type Behaviour } from "../../test/support/device/scripted-dialer.js";
import { BROKER, DAY_MS, ID, World, type WorldOptions } from "../../test/support/device/test-world.js";
import { Rotation } from "./rotation.js";
import { IdentityStore } from "./store.js";
import { TrustedTime } from "./trusted-time.js";

const HOUR_MS = 3_600_000;
const ANSWER_TIMEOUT_MS = 30_000;
const SILENT: Behaviour = accepting({ publish: () => undefined });
const refusingPublish = accepting({ publish: ({ messageId }) => ({ cmd: "puback", messageId: messageId!, reasonCode: 0x87 }) });

/** A rotation with a real store, real keys and a real client over a scripted link; proving is the test's part. */
class Rotating {
  proofs = 0;
  readonly client: MqttClient;
  readonly rotation: Rotation;

  private constructor(
    readonly world: World,
    readonly store: IdentityStore,
    readonly time: TrustedTime,
    options: Partial<MqttOptions>,
  ) {
    const { platform } = world;
    this.client = new MqttClient(
      { clientId: ID, protocolVersion: 5, cleanStart: false, keepAliveSeconds: 0, connackTimeoutMs: 1_000, ackTimeoutMs: 0, ...options },
      platform,
    );
    this.client.onEnd = () => this.rotation.offline();
    this.rotation = new Rotation({ platform, store, time, emit: (event) => world.events.push(event), prove: () => this.proofs++ });
  }

  static on(world: World, options: Partial<MqttOptions> = {}): Rotating {
    return new Rotating(
      world,
      IdentityStore.load(world.storage, world.keyStore),
      new TrustedTime(world.platform.clock, world.storage, 0),
      options,
    );
  }

  /** One that is online. */
  static async online(
    given: WorldOptions & { usually?: Behaviour; recovering?: boolean; options?: Partial<MqttOptions> } = {},
  ): Promise<Rotating> {
    const rotating = Rotating.on(await World.provisioned(given), given.options);
    if (given.usually) rotating.world.dialer.usually = given.usually;
    await rotating.connect(given.recovering);
    return rotating;
  }

  async connect(recovering = false): Promise<void> {
    const { world, client, rotation } = this;
    const connected = client.connect((handlers) => world.dialer.dial(BROKER, { kind: "none" }, 1_000, handlers));
    await world.pass(0);
    await connected;
    rotation.online(client, recovering);
    await world.pass(0);
  }

  async cut(): Promise<void> {
    this.world.dialer.last.wire.cut();
    await this.world.pass(0);
  }

  /** The certificate of an authority for the last request, handed in as the device would hand it in. */
  async answer(requestId = this.world.enrolments.at(-1)!.requestId): Promise<void> {
    const der = await this.world.issueFor(Buffer.from(this.world.enrolments.at(-1)!.csr, "base64"));
    this.say({ requestId, chain: [Buffer.from(der).toString("base64")] });
  }

  say(fields: Record<string, unknown>): void {
    this.rotation.answer(new TextEncoder().encode(JSON.stringify({ v: 1, ...fields })));
  }

  /** What the supervisor does once the new certificate has proved itself. */
  async commit(): Promise<void> {
    await this.cut();
    this.store.commit();
    await this.connect();
  }
}

describe("A certificate", () => {
  it("is asked for when two thirds of the old one's life, less some jitter, have passed, and not before", async () => {
    const { world } = await Rotating.online({ lifetimeMs: 30 * DAY_MS });
    // The random fraction of the world is 0.5.
    const dueMs = 30 * DAY_MS * (2 / 3 - 1 / 40);
    await world.pass(dueMs - 60_000);
    expect(world.enrolments).toEqual([]);
    await world.pass(62_000);
    expect([world.enrolments.length, world.news()]).toEqual([1, ["renewing"]]);
  });

  it("is asked for by a request of the contract", async () => {
    const { world, rotation } = await Rotating.online();
    rotation.renew();
    await world.pass(0);
    const [published] = world.dialer.last.of("publish");
    expect(published).toMatchObject({
      topic: `devices/${ID}/identity/request`,
      qos: 1,
      retain: false,
      properties: { messageExpiryInterval: 30 },
    });
    const request = JSON.parse(String(published!.payload)) as Record<string, string>;
    expect(Object.keys(request)).toEqual(["v", "type", "requestId", "csr", "anchors", "key", "proof"]);
    expect(request["requestId"]).toMatch(/^[0-9a-f]{32}$/);
    expect(Buffer.from(request["csr"]!, "base64").includes(Buffer.from(world.keys.publicKey("key-b")))).toBe(true);
  });

  it("that somebody else asks for is objected to, by the key of the present one; what else comes for others is not answered", async () => {
    const rotating = await Rotating.online();
    const { world } = rotating;
    for (const code of ["IN_USE", "TRY_LATER"]) rotating.say({ requestId: "another's", error: { code, message: "" } });
    rotating.say({ requestId: "another's", error: { code: "ASKING_HOLDER", message: "" } });
    await world.pass(0);
    const said = world.dialer.last.of("publish").map(({ topic, qos, payload }) => ({ topic, qos, text: String(payload) }));
    expect(said).toMatchObject([{ topic: `devices/${ID}/identity/request`, qos: 1 }]);
    const objection = JSON.parse(said[0]!.text) as Record<string, string>;
    expect(objection).toMatchObject({ v: 1, type: "in-use", requestId: "another's" });
    expect(objection["key"]).toBe(Buffer.from(world.keys.publicKey("key-a")).toString("base64"));
    expect(objection["proof"]).toHaveLength(88);
  });

  it("that the device asks for itself it does not object to", async () => {
    const rotating = await Rotating.online();
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    const before = world.dialer.last.of("publish").length;
    rotating.say({ requestId: world.enrolments.at(-1)!.requestId, error: { code: "ASKING_HOLDER", message: "", retryAfterSeconds: 60 } });
    await world.pass(0);
    expect([world.dialer.last.of("publish").length, world.of("renewal-failed")]).toMatchObject([before, [{ code: "ASKING_HOLDER" }]]);
  });

  it("is asked for again as soon as the authority has asked the holder, however often it was refused before", async () => {
    const rotating = await Rotating.online();
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    for (const code of ["TRY_LATER", "TRY_LATER", "TRY_LATER", "ASKING_HOLDER"]) {
      rotating.say({ requestId: world.enrolments.at(-1)!.requestId, error: { code, message: "", retryAfterSeconds: 20 } });
      if (code === "TRY_LATER") await world.pass(3_600_000);
    }
    expect(world.of("renewal-failed").at(-1)).toMatchObject({ code: "ASKING_HOLDER", retryMs: 20_000 });
  });

  it("that came is stored and waits to be proved; the answer again changes nothing", async () => {
    const rotating = await Rotating.online();
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    await rotating.answer();
    const serial = store.pending!.certificate.serial;
    await rotating.answer();
    await world.pass(DAY_MS);
    expect([world.of("pending"), rotating.proofs, world.enrolments.length, world.stored.pending?.certificate.serial]).toEqual([
      [{ type: "pending", serial }],
      1,
      1,
      serial,
    ]);
  });

  it("that leads to no CA of the device is not stored, and its dates move no clock", async () => {
    const rotating = await Rotating.online();
    const { world, store, time, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    world.trustsIssuer = false;
    await rotating.answer();
    expect([store.pending, world.of("renewal-failed")]).toMatchObject([undefined, [{ code: "UNTRUSTED_CERTIFICATE" }]]);
    // The true answer comes later: it is as good as one in time.
    world.trustsIssuer = true;
    await rotating.answer();
    expect([store.pending !== undefined, rotating.proofs, time.provedMs()]).toEqual([true, 1, world.time.monotonicMs()]);
  });

  it("from the far future moves no clock before a broker has accepted it", async () => {
    const { world, store, time, rotation } = await Rotating.online();
    rotation.renew();
    await world.pass(0);
    const { requestId, csr } = world.enrolments.at(-1)!;
    const der = await world.issueFor(Buffer.from(csr, "base64"), DAY_MS, {
      notBefore: new Date(Date.UTC(2049, 0, 1)),
      notAfter: new Date(Date.UTC(2049, 11, 1)),
    });
    const beforeMs = time.nowMs();
    rotation.answer(new TextEncoder().encode(JSON.stringify({ v: 1, requestId, chain: [Buffer.from(der).toString("base64")] })));
    expect([store.pending?.certificate.notBeforeMs, time.nowMs()]).toEqual([Date.UTC(2049, 0, 1), beforeMs]);
  });

  it("is not put off by an answer for longer than a tenth of what is left of the old one", async () => {
    const { world, rotation } = await Rotating.online({ lifetimeMs: 10 * HOUR_MS });
    rotation.renew();
    await world.pass(0);
    const { requestId } = world.enrolments.at(-1)!;
    rotation.answer(
      new TextEncoder().encode(
        JSON.stringify({ v: 1, requestId, error: { code: "TRY_LATER", message: "tomorrow", retryAfterSeconds: 86_400 } }),
      ),
    );
    expect(world.of("renewal-failed")[0]!.retryMs).toBeLessThan(1.1 * HOUR_MS);
  });

  it("is put off for ten minutes at most once the device has no certificate, whatever was asked before", async () => {
    const rotating = await Rotating.online({ lifetimeMs: 1_000 * HOUR_MS });
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    rotating.say({
      requestId: world.enrolments[0]!.requestId,
      error: { code: "TRY_LATER", message: "tomorrow", retryAfterSeconds: 86_400 },
    });
    await rotating.cut();
    await rotating.connect(true);
    await world.pass(590_000);
    expect(world.enrolments).toHaveLength(1);
    await world.pass(15_000);
    expect(world.enrolments).toHaveLength(2);
  });

  it("is asked for under a new name each time", async () => {
    const rotating = await Rotating.online();
    for (let i = 0; i < 2; i++) {
      rotating.rotation.renew();
      await rotating.world.pass(0);
      await rotating.answer();
      await rotating.commit();
    }
    expect(new Set(rotating.world.enrolments.map(({ requestId }) => requestId)).size).toBe(2);
  });

  it("is asked for at once on the recovery rung, and not reported there", async () => {
    const { world } = await Rotating.online({ certificate: false, recovering: true });
    expect([world.of("renewing"), world.enrolments.length]).toEqual([[{ type: "renewing", reason: "recovery" }], 1]);
    const unreported = Rotating.on(await World.provisioned());
    await unreported.world.storePending(unreported.store);
    unreported.store.commit();
    await unreported.connect(true);
    expect([unreported.world.enrolments.length, unreported.world.reports]).toEqual([1, []]);
  });

  it("just issued is not due, however late the wall clock says it is", async () => {
    const rotating = await Rotating.online({ lifetimeMs: DAY_MS });
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    await rotating.answer();
    world.time.wallOffsetMs += 400 * DAY_MS;
    await rotating.commit();
    await world.pass(HOUR_MS - 1_000);
    expect(world.enrolments).toHaveLength(1);
    await world.pass(2_000);
    expect(world.of("renewing").at(-1)).toEqual({ type: "renewing", reason: "due" });
  });

  it("is asked for within ten minutes when the clock jumps past its date", async () => {
    const { world } = await Rotating.online();
    world.time.wallOffsetMs += 80 * DAY_MS;
    await world.pass(601_000);
    expect(world.enrolments.length).toBeGreaterThan(0);
  });
});

describe("An authority that is silent", () => {
  it("is asked again, ever later, for the same thing", async () => {
    const { world, rotation } = await Rotating.online();
    rotation.renew();
    await world.pass(ANSWER_TIMEOUT_MS);
    expect(world.of("renewal-failed")).toEqual([
      { type: "renewal-failed", code: "NO_ANSWER", message: "the authority did not answer in time", retryMs: 2_500 },
    ]);
    await world.pass(HOUR_MS);
    const asked = world.enrolments;
    expect(asked.length).toBeGreaterThan(4);
    expect(new Set(asked.map(({ requestId }) => requestId)).size).toBe(1);
    expect(asked.every(({ csr }) => Buffer.from(csr, "base64").includes(Buffer.from(world.keys.publicKey("key-b"))))).toBe(true);
    const waits = world.of("renewal-failed").map(({ retryMs }) => retryMs);
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
  });

  it("may answer late: that is as good as in time", async () => {
    const rotating = await Rotating.online();
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(ANSWER_TIMEOUT_MS + 1_000);
    await rotating.answer();
    await world.pass(10 * ANSWER_TIMEOUT_MS);
    expect([store.pending === undefined, world.enrolments.length]).toEqual([false, 1]);
  });

  it("does not count twice when the broker, too, is silent and the request expires", async () => {
    const { world, rotation } = await Rotating.online({ usually: SILENT });
    rotation.renew();
    await world.pass(ANSWER_TIMEOUT_MS + 2_000);
    expect(world.of("renewal-failed")).toHaveLength(1);
  });
});

describe("An answer", () => {
  it("that cannot be read, is for another request, or for none, is ignored", async () => {
    const rotating = await Rotating.online();
    const { world, rotation, store } = rotating;
    rotation.answer(Uint8Array.of(0xff));
    rotating.say({ requestId: "nobody asked", chain: ["AQI="] });
    rotation.renew();
    await world.pass(0);
    rotating.say({ requestId: world.enrolments[0]!.requestId, chain: [5] });
    rotating.say({ requestId: world.enrolments[0]!.requestId, chain: ["?"] });
    await rotating.answer("00".repeat(16));
    expect([world.news(), world.logged.length, store.pending, store.enrolling]).toEqual([["renewing"], 3, undefined, "key-b"]);
    await rotating.answer();
    expect(store.pending).toBeDefined();
  });

  it("that refuses says why, and when to ask again", async () => {
    const rotating = await Rotating.online();
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    rotating.say({ requestId: world.enrolments[0]!.requestId, error: { code: "RATE_LIMITED", message: "later", retryAfterSeconds: 600 } });
    expect(world.of("renewal-failed")).toEqual([{ type: "renewal-failed", code: "RATE_LIMITED", message: "later", retryMs: 602_500 }]);
    await world.pass(602_000);
    expect(world.enrolments).toHaveLength(1);
    await world.pass(1_000);
    expect(world.enrolments).toHaveLength(2);
    rotating.say({ requestId: world.enrolments[0]!.requestId, error: { code: "TRY_LATER", message: "" } });
    expect(world.of("renewal-failed").at(-1)).toMatchObject({ code: "TRY_LATER", retryMs: 5_000 });
  });

  it("whose key the authority takes no more is asked for with another key, which survives a restart as any does", async () => {
    const rotating = await Rotating.online({ recovering: true });
    const { world } = rotating;
    const [first] = world.enrolments;
    rotating.say({ requestId: first!.requestId, error: { code: "BAD_REQUEST", message: "its certificate was revoked" } });
    expect(world.of("renewal-failed").at(-1)).toMatchObject({ code: "BAD_REQUEST", retryMs: 2_500 });
    await world.pass(2_500);
    const second = world.enrolments.at(-1)!;
    expect([second.requestId === first!.requestId, keyOf(second.csr) === keyOf(first!.csr)]).toEqual([false, false]);
    const after = Rotating.on(world);
    await after.connect(true);
    expect(keyOf(world.enrolments.at(-1)!.csr)).toBe(keyOf(second.csr));
    await after.answer();
    expect(after.store.pending).toBeDefined();
  });

  it.each<[string, (rotating: Rotating) => Promise<string[]>, string]>([
    [
      "with a certificate of another key",
      async ({ world }) => [toBase64(await world.issueFor(world.keys.csr("key-a", ID)))],
      "KEY_MISMATCH",
    ],
    [
      "with a certificate for another device",
      async ({ world }) => [toBase64(await world.issueFor(world.keys.csr("key-b", "sensor-2")))],
      "WRONG_SUBJECT",
    ],
    ["with a certificate that is none", () => Promise.resolve(["MAA="]), "BAD_CERTIFICATE"],
    [
      "with an issuer that is none",
      async ({ world }) => [toBase64(await world.issueFor(world.keys.csr("key-b", ID))), "MAA="],
      "BAD_CERTIFICATE",
    ],
  ])("%s is refused, and the authority asked again", async (_, chainOf, code) => {
    const rotating = await Rotating.online();
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    rotating.say({ requestId: world.enrolments[0]!.requestId, chain: await chainOf(rotating) });
    expect([world.of("renewal-failed")[0]?.code, store.pending, rotating.proofs]).toEqual([code, undefined, 0]);
    await world.pass(3_000);
    await rotating.answer();
    expect([world.enrolments.length, store.pending === undefined]).toEqual([2, false]);
  });

  it("that comes after the connection ended is stored all the same", async () => {
    const rotating = await Rotating.online();
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    await rotating.cut();
    await rotating.answer();
    expect([store.pending === undefined, rotating.proofs]).toEqual([false, 1]);
  });

  it("that cannot be stored is asked for again", async () => {
    const rotating = await Rotating.online();
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    world.storage.isFull = true;
    await rotating.answer();
    expect([world.of("renewal-failed")[0]?.code, store.pending]).toEqual(["STORAGE_FULL", undefined]);
    world.storage.isFull = false;
    await world.pass(3_000);
    await rotating.answer();
    expect(world.stored.pending?.certificate.serial).toBe(store.pending!.certificate.serial);
  });
});

/** The public key of a request. */
function keyOf(csr: string): string {
  return toBase64(new Uint8Array(new x509.Pkcs10CertificateRequest(new Uint8Array(Buffer.from(csr, "base64"))).publicKey.rawData));
}

function toBase64(der: Uint8Array): string {
  return Buffer.from(der).toString("base64");
}

describe("A request that cannot be made", () => {
  it.each<[string, (world: World) => void, (world: World) => void, string]>([
    ["storage is full", (world) => (world.storage.isFull = true), (world) => (world.storage.isFull = false), "STORAGE_FULL"],
    ["no key can be made", (world) => world.brokenKeyCalls.add("generate"), (world) => world.brokenKeyCalls.clear(), "INTERNAL"],
    ["the key does not sign", (world) => world.brokenKeyCalls.add("csr"), (world) => world.brokenKeyCalls.clear(), "INTERNAL"],
    [
      "the broker refuses it",
      (world) => Object.assign(world.dialer.last.behaviour, refusingPublish),
      (world) => Object.assign(world.dialer.last.behaviour, accepting()),
      "NOT_AUTHORIZED",
    ],
  ])("because %s is told, and made once that is over", async (_, spoil, mend, code) => {
    const { world, rotation, ...rest } = await Rotating.online();
    spoil(world);
    rotation.renew();
    await world.pass(60_000);
    expect(world.of("renewal-failed")[0]?.code).toBe(code);
    expect(world.of("renewal-failed").length).toBeGreaterThan(2);
    mend(world);
    const before = world.enrolments.length;
    await world.pass(60_000);
    expect([world.enrolments.length > before, rest.proofs]).toEqual([true, 0]);
  });

  it("is made although the application has filled the outbox", async () => {
    const { world, rotation, client } = await Rotating.online({
      usually: SILENT,
      options: { outbox: { maxMessages: 1, maxBytes: 10_000, overflow: "reject" } },
    });
    void client.publish("up/t", "x", { qos: 1 });
    rotation.renew();
    await world.pass(0);
    expect([world.enrolments.length, world.of("renewal-failed")]).toEqual([1, []]);
  });
});

describe("A connection that ends during an exchange", () => {
  it("leaves nothing running, and the exchange goes on with the next", async () => {
    const rotating = await Rotating.online({ usually: SILENT });
    const { world, store, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    await rotating.cut();
    expect(world.time.timers).toBe(0);
    await world.pass(DAY_MS);
    expect(world.news()).toEqual(["renewing"]);
    await rotating.connect();
    expect(new Set(world.enrolments.map(({ requestId }) => requestId)).size).toBe(1);
    await rotating.answer();
    expect([store.pending === undefined, world.of("renewal-failed")]).toEqual([false, []]);
  });

  it("for the request itself, as some brokers end it that do not allow it, leaves one request in the outbox, however often", async () => {
    const ending: Behaviour = accepting({
      connect: () => ({ cmd: "connack", sessionPresent: true, reasonCode: 0 }),
      publish: (_, peer) => void peer.wire.cut(),
    });
    const rotating = await Rotating.online({ usually: ending });
    rotating.rotation.renew();
    for (let connection = 0; connection < 5; connection++) {
      await rotating.world.pass(60_000);
      await rotating.connect();
    }
    expect([rotating.world.enrolments.length, rotating.client.pending.messages]).toEqual([6, 1]);
    rotating.world.dialer.usually = accepting();
    await rotating.connect();
    expect([rotating.world.enrolments.length, rotating.client.pending.messages]).toEqual([7, 0]);
    await rotating.world.pass(ANSWER_TIMEOUT_MS + 60_000);
    expect(rotating.world.enrolments.length).toBe(8);
  });

  it("is no reason to forget what somebody asked for", async () => {
    const rotating = Rotating.on(await World.provisioned());
    rotating.rotation.renew();
    await rotating.connect();
    expect(rotating.world.enrolments).toHaveLength(1);
  });
});

describe("Asking again", () => {
  it("during an exchange asks for nothing more", async () => {
    const { world, rotation } = await Rotating.online();
    rotation.renew();
    rotation.renew();
    await world.pass(1_000);
    rotation.renew();
    await world.pass(0);
    expect(world.enrolments).toHaveLength(1);
  });

  it("while an earlier failure is waited out asks at once", async () => {
    const rotating = await Rotating.online();
    const { world, rotation } = rotating;
    rotation.renew();
    await world.pass(0);
    rotating.say({ requestId: world.enrolments[0]!.requestId, error: { code: "RATE_LIMITED", message: "", retryAfterSeconds: 86_400 } });
    rotation.renew();
    await world.pass(0);
    expect(world.enrolments).toHaveLength(2);
  });

  it("goes on after a boot in the middle of an exchange, with the same key", async () => {
    const first = await Rotating.online();
    first.rotation.renew();
    await first.world.pass(0);
    const publicKey = first.world.keys.publicKey("key-b");
    const second = Rotating.on(first.world.rebooted());
    await second.connect();
    expect([second.world.enrolments.length, second.world.keys.publicKey("key-b")]).toEqual([1, publicKey]);
  });

  it("proves a certificate that was stored before a boot, and asks for no other", async () => {
    const world = await World.provisioned();
    await world.storePending(IdentityStore.load(world.storage, world.keys));
    const rotating = Rotating.on(world);
    await rotating.connect();
    expect([rotating.proofs, world.enrolments]).toEqual([1, []]);
  });
});

describe("A proof that failed", () => {
  async function withPending(): Promise<Rotating> {
    const world = await World.provisioned();
    await world.storePending(IdentityStore.load(world.storage, world.keys));
    return Rotating.on(world);
  }

  it("is made again after a minute or two, three times at most; then the certificate is given up", async () => {
    const rotating = await withPending();
    const { world, store, rotation } = rotating;
    const serial = store.pending!.certificate.serial;
    for (const count of [1, 2]) {
      rotation.failedProof("no SUBACK");
      await rotating.connect();
      await world.pass(59_000);
      expect(rotating.proofs, `after failure ${count}`).toBe(count - 1);
      await world.pass(61_000);
      expect(rotating.proofs, `after failure ${count}`).toBe(count);
      await rotating.cut();
    }
    rotation.failedProof("no SUBACK");
    expect(world.of("identity-dropped")).toEqual([
      { type: "identity-dropped", serial, code: "CERTIFICATE_REJECTED", message: "no SUBACK" },
    ]);
    expect([store.pending, world.stored.pending, world.keys.has("key-b")]).toEqual([undefined, undefined, false]);
    await rotating.connect();
    expect(world.enrolments).toEqual([]);
  });

  it("is counted over reboots", async () => {
    let rotating = await withPending();
    for (let boot = 0; boot < 3; boot++) {
      rotating.rotation.failedProof("again");
      if (boot < 2) rotating = Rotating.on(rotating.world.rebooted());
    }
    expect(rotating.world.of("identity-dropped")).toHaveLength(1);
  });

  it("of nothing is nothing", async () => {
    const { world, rotation } = await Rotating.online();
    rotation.failedProof("of what?");
    expect([world.news(), world.logged]).toEqual([[], []]);
  });

  it("that cannot be counted is not made again at once: the device would never be online", async () => {
    const rotating = await withPending();
    rotating.world.storage.isFull = true;
    rotating.rotation.failedProof("no SUBACK");
    await rotating.connect();
    await rotating.world.pass(30_000);
    expect([rotating.world.logged.length, rotating.proofs]).toEqual([1, 0]);
  });

  it("is told once, although the certificate cannot be removed", async () => {
    const rotating = await withPending();
    for (let count = 0; count < 2; count++) rotating.rotation.failedProof("no SUBACK");
    rotating.world.brokenKeyCalls.add("destroy");
    for (let count = 0; count < 2; count++) rotating.rotation.failedProof("no SUBACK");
    expect([rotating.world.of("identity-dropped").length, rotating.store.pending]).toEqual([1, undefined]);
    await rotating.connect();
    await rotating.world.pass(0);
    expect(rotating.world.enrolments, "not at once").toEqual([]);
  });

  it("for good lets the authority alone for a while, although a certificate is due", async () => {
    const rotating = await Rotating.online({ lifetimeMs: 30 * DAY_MS });
    const { world, store, rotation } = rotating;
    while (world.enrolments.length === 0) await world.pass(HOUR_MS);
    await rotating.answer();
    await rotating.cut();
    store.drop();
    rotation.dropped();
    const before = world.enrolments.length;
    await rotating.connect();
    await world.pass(1_000);
    expect(world.enrolments).toHaveLength(before);
    await world.pass(HOUR_MS);
    expect(world.enrolments.length).toBeGreaterThan(before);
  });
});

describe("The report of the certificate in use", () => {
  async function committed(usually: Behaviour = accepting()): Promise<Rotating> {
    const world = await World.provisioned();
    world.dialer.usually = usually;
    const store = IdentityStore.load(world.storage, world.keys);
    await world.storePending(store);
    store.commit();
    return Rotating.on(world);
  }

  it("is sent with the next connection, once it is acknowledged never again", async () => {
    const rotating = await committed();
    await rotating.connect();
    expect([rotating.world.reports, rotating.store.unreported]).toEqual([[rotating.world.serial], false]);
    await rotating.cut();
    await rotating.connect();
    await rotating.world.pass(DAY_MS);
    expect(rotating.world.reports).toHaveLength(1);
  });

  it("is sent again within the hour when the broker refuses it", async () => {
    const rotating = await committed(refusingPublish);
    await rotating.connect();
    expect(rotating.store.unreported).toBe(true);
    rotating.world.dialer.last.behaviour.answers = accepting().answers!;
    await rotating.world.pass(HOUR_MS);
    expect([rotating.world.reports.length, rotating.store.unreported, rotating.world.news()]).toEqual([2, false, []]);
  });

  it("is sent again when it could not be noted that it was acknowledged", async () => {
    const rotating = await committed();
    rotating.world.storage.isFull = true;
    await rotating.connect();
    expect([rotating.store.unreported, rotating.world.logged]).toEqual([true, ["debug: a report was not delivered"]]);
    rotating.world.storage.isFull = false;
    await rotating.world.pass(HOUR_MS);
    expect([rotating.store.unreported, rotating.world.reports.length]).toEqual([false, 2]);
  });

  it("waits for its acknowledgement over connections, and is not doubled meanwhile", async () => {
    const rotating = await committed(SILENT);
    await rotating.connect();
    await rotating.world.pass(3 * HOUR_MS);
    expect(rotating.world.reports).toHaveLength(1);
    rotating.world.dialer.usually = accepting();
    await rotating.cut();
    await rotating.connect();
    expect([new Set(rotating.world.reports).size, rotating.store.unreported]).toEqual([1, false]);
  });

  it("that is acknowledged after the next renewal does not stand for the newer certificate", async () => {
    const rotating = await committed(SILENT);
    const { world, store } = rotating;
    await rotating.connect();
    await world.storePending(store);
    store.commit();
    const sent = world.dialer.last.of("publish")[0]!;
    world.dialer.last.behaviour.answers = accepting().answers!;
    world.dialer.last.send({ cmd: "puback", messageId: sent.messageId!, reasonCode: 0 });
    await world.pass(0);
    expect([world.reports.at(-1), store.unreported, new Set(world.reports).size]).toEqual([world.serial, false, 2]);
  });

  it("has no answer to wait for: the application's messages go on", async () => {
    const rotating = await committed();
    await rotating.connect();
    const sent = watch(rotating.client.publish("up/t", "x", { qos: 1 }));
    await rotating.world.pass(0);
    expect(sent.state).toBe("resolved");
  });
});
