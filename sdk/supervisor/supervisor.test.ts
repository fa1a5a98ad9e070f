import { describe, expect, it } from "vitest";
import type { DeviceEvent } from "../events.js";
import { IdentityStore } from "../identity/store.js";
import { TrustedTime } from "../identity/trusted-time.js";
import { MqttClient } from "../mqtt/client.js";
import type { Cancel, Network } from "../platform.js";
import { accepting, failing, refusing, silent, type Behaviour } from "../../test/support/device/scripted-dialer.js";
import { BROKER, DAY_MS, ID, RECOVERY, World, type WorldOptions } from "../../test/support/device/test-world.js";
import { DEFAULT_BACKOFF } from "../backoff.js";
import { failure, type Failure, type FailureCode } from "../failure.js";
import { DEFAULT_PATIENCE, type Attempt } from "./credential-ladder.js";
import { Supervisor, type Login, type SupervisorOptions } from "./supervisor.js";

const TIMEOUT_MS = 20_000;
const TAKEN_OVER = { cmd: "disconnect", reasonCode: 0x8e };

interface Case extends WorldOptions {
  options?: Partial<SupervisorOptions>;
  /** A certificate waits to be proved. */
  pending?: boolean;
  login?: () => Login;
  /** What the dialer's connections do, one after another. */
  next?: Behaviour[];
  usually?: Behaviour;
}

/** A supervisor with real clients, a real identity store and real keys, over scripted links. */
class Supervised {
  readonly online: Attempt[] = [];
  readonly failedProofs: Failure[] = [];
  offline = 0;
  dropped = 0;
  onEvent: ((event: DeviceEvent) => void) | undefined;
  readonly supervisor: Supervisor;
  readonly time: TrustedTime;

  private constructor(
    readonly world: World,
    readonly store: IdentityStore,
    given: Case,
  ) {
    const { platform, dialer } = world;
    dialer.next = given.next ?? [];
    if (given.usually) dialer.usually = given.usually;
    const common = { protocolVersion: 5, keepAliveSeconds: 60, connackTimeoutMs: TIMEOUT_MS } as const;
    const telemetry = new MqttClient({ ...common, clientId: ID, cleanStart: false }, platform);
    const listening = (client: MqttClient): MqttClient => {
      client.subscribe(`devices/${ID}/identity/response`, { qos: 1 });
      return client;
    };
    const options: SupervisorOptions = {
      broker: BROKER,
      recovery: RECOVERY,
      protocolVersion: "auto",
      backoff: DEFAULT_BACKOFF,
      patience: DEFAULT_PATIENCE,
      connectTimeoutMs: TIMEOUT_MS,
      redirects: [],
      ...given.options,
    };
    this.time = new TrustedTime(platform.clock, platform.storage, 0);
    this.supervisor = new Supervisor(options, {
      platform,
      store,
      telemetry: listening(telemetry),
      makeRecovery: () => listening(new MqttClient({ ...common, clientId: `${ID}~recovery`, cleanStart: true }, platform)),
      time: this.time,
      emit: (event) => {
        world.events.push(event);
        this.onEvent?.(event);
      },
      onOnline: (_, attempt) => void this.online.push(attempt),
      onOffline: () => void this.offline++,
      onStopped: () => undefined,
      onFailedProof: (reason) => void this.failedProofs.push(reason),
      onDropped: () => void this.dropped++,
      login: given.login ?? ((): Login => ({})),
    });
  }

  static async make(given: Case = {}): Promise<Supervised> {
    const world = await World.provisioned(given);
    const store = IdentityStore.load(world.storage, world.keyStore);
    if (given.pending) await world.storePending(store);
    return new Supervised(world, store, given);
  }

  /** As `make`, and started. */
  static async run(given: Case = {}): Promise<Supervised> {
    const made = await Supervised.make(given);
    made.supervisor.start();
    await made.world.pass(0);
    return made;
  }

  /** What each connection showed. */
  get shown(): string[] {
    return this.world.dialer.peers.map(({ credential }) => (credential.kind === "mtls" ? credential.slot : credential.kind));
  }
}

const because = (code: FailureCode): Failure => failure(code, "in a test");

describe("A supervisor that starts", () => {
  it("shows the active certificate to the broker and is online with CONNACK", async () => {
    const { world, store, supervisor, online } = await Supervised.run();
    const { endpoint, credential, timeoutMs } = world.dialer.last;
    expect([endpoint, timeoutMs]).toEqual([{ ...BROKER, validAtMs: world.time.wallMs() }, TIMEOUT_MS]);
    expect(credential).toEqual({ kind: "mtls", slot: "key-a", chain: store.active!.chain, trustAnchors: store.trustAnchors });
    const serial = store.active!.certificate.serial;
    expect(world.events).toEqual([
      { type: "connecting", credential: "mtls", identity: "active", ...BROKER },
      { type: "connected", credential: "mtls", serial, protocolVersion: 5, sessionPresent: false, tlsVersion: "none", resumed: false },
    ]);
    expect([supervisor.phase, online, supervisor.lastFailure]).toEqual(["online", [{ rung: "mtls", identity: "active" }], undefined]);
  });

  it("is dialing until CONNACK comes, however long TLS has been up", async () => {
    const { world, supervisor, online } = await Supervised.run({ usually: accepting({ connect: () => undefined }) });
    await world.pass(TIMEOUT_MS - 1);
    expect([supervisor.phase, online]).toEqual(["dialing", []]);
  });

  it("starts once, however often it is told to", async () => {
    const { world, supervisor } = await Supervised.run();
    supervisor.start();
    await world.pass(60_000);
    supervisor.start();
    await world.pass(60_000);
    expect(world.dialer.peers).toHaveLength(1);
  });
});

/** A machine's station that joins and leaves. */
class Station implements Network {
  readonly #listeners = new Set<() => void>();

  constructor(public isUp: boolean) {}

  onChange(changed: () => void): Cancel {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  becomes(isUp: boolean): void {
    this.isUp = isUp;
    for (const changed of [...this.#listeners]) changed();
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

describe("Where the machine can tell whether it is on a network", () => {
  async function on(station: Station, given: Case = {}): Promise<Supervised> {
    const made = await Supervised.make(given);
    made.world.platform.network = station;
    made.supervisor.start();
    await made.world.pass(0);
    return made;
  }

  it("a boot without one reports no failure and dials as soon as it is there", async () => {
    const station = new Station(false);
    const { world, supervisor } = await on(station);
    await world.pass(3_600_000);
    expect([world.news(), supervisor.phase, supervisor.lastFailure]).toEqual([["no-network"], "waiting", undefined]);
    station.becomes(true);
    await world.pass(0);
    expect([world.news(), supervisor.phase]).toEqual([["connecting", "connected"], "online"]);
  });

  it("a long wait for the network ends when it is back, and the next one is short again", async () => {
    const station = new Station(true);
    const { world } = await on(station, { usually: failing(because("HOST_UNREACHABLE")) });
    await world.pass(60_000);
    const before = world.dialer.peers.length;
    station.becomes(false);
    await world.pass(3_600_000);
    expect(world.dialer.peers).toHaveLength(before);
    station.becomes(true);
    await world.pass(0);
    expect(world.dialer.peers).toHaveLength(before + 1);
    expect(world.of("retrying").at(-1)).toMatchObject({ attempt: 1, delayMs: 500 });
  });

  it("an attempt under way ends with the network, and is not made again until it is back", async () => {
    const station = new Station(true);
    const { world } = await on(station, { next: [silent] });
    station.becomes(false);
    await world.pass(600_000);
    expect(world.of("disconnected")).toMatchObject([{ code: "HOST_UNREACHABLE", class: "network", wasConnected: false }]);
    expect([world.dialer.peers.length, world.news().at(-1)]).toEqual([1, "no-network"]);
  });

  it("a connection is not ended by it: it may outlive a short leave", async () => {
    const station = new Station(true);
    const { world, supervisor } = await on(station);
    station.becomes(false);
    station.becomes(true);
    await world.pass(30_000);
    expect([supervisor.phase, world.dialer.peers.length]).toEqual(["online", 1]);
  });

  it("what a broker asks to wait is waited, whatever the network does", async () => {
    const station = new Station(true);
    const { world } = await on(station, { next: [refusing(0x97)] });
    station.becomes(false);
    station.becomes(true);
    await world.pass(60_499);
    expect(world.dialer.peers).toHaveLength(1);
  });

  it("a network that flickers is not dialled into without a pause, and a stopped device hears of none", async () => {
    const station = new Station(true);
    const { world, supervisor } = await on(station, { usually: failing(because("HOST_UNREACHABLE")) });
    const startedAtMs = world.time.monotonicMs();
    for (let flicker = 0; flicker < 1_000; flicker++) {
      station.becomes(false);
      station.becomes(true);
      await world.pass(1);
    }
    expect(world.dialer.peers.length).toBeLessThanOrEqual((world.time.monotonicMs() - startedAtMs) / DEFAULT_BACKOFF.floorMs + 1);
    await supervisor.stop();
    expect(station.listeners).toBe(0);
  });
});

describe("After a failure", () => {
  it("the same credential is shown again, later each time", async () => {
    const { world, ...rest } = await Supervised.run({ usually: failing(because("DNS_FAILED")) });
    await world.pass(10_000);
    expect(world.of("retrying").map(({ delayMs, attempt }) => [delayMs, attempt])).toEqual([
      [500, 1],
      [1_000, 2],
      [2_000, 3],
      [4_000, 4],
      [8_000, 5],
    ]);
    expect(new Set(world.of("connecting").map(({ credential }) => credential))).toEqual(new Set(["mtls"]));
    expect(world.of("disconnected")[0]).toEqual({
      type: "disconnected",
      code: "DNS_FAILED",
      class: "network",
      message: "in a test",
      credential: "mtls",
      wasConnected: false,
    });
    expect([rest.supervisor.phase, rest.supervisor.lastFailure?.code, rest.offline]).toEqual(["waiting", "DNS_FAILED", 0]);
  });

  it("a connection that did not last does not shorten the wait, one that did starts it anew", async () => {
    const { world } = await Supervised.run();
    for (const [lastedMs, delayMs] of [
      [1_000, 500],
      [29_999, 1_000],
      [30_000, 500],
    ] as const) {
      await world.pass(lastedMs);
      world.dialer.last.wire.cut();
      await world.pass(delayMs);
    }
    expect(world.of("retrying").map(({ delayMs }) => delayMs)).toEqual([500, 1_000, 500]);
    expect(world.of("disconnected").map(({ wasConnected }) => wasConnected)).toEqual([true, true, true]);
  });

  it("what the failure itself asks to wait is waited", async () => {
    const { world } = await Supervised.run({ next: [refusing(0x97)] });
    expect(world.of("retrying")[0]!.delayMs).toBe(60_500);
    await world.pass(60_499);
    expect(world.dialer.peers).toHaveLength(1);
    await world.pass(1);
    expect(world.dialer.peers).toHaveLength(2);
  });

  it("the failure is forgotten with the next connection", async () => {
    const { world, supervisor } = await Supervised.run({ next: [refusing(0x89)] });
    expect(supervisor.lastFailure?.code).toBe("SERVER_BUSY");
    await world.pass(10_000);
    expect([supervisor.phase, supervisor.lastFailure]).toEqual(["online", undefined]);
  });

  it("a broker of 3.1.1 alone gets 3.1.1, at once and from then on", async () => {
    const { world, supervisor } = await Supervised.run({ next: [refusing(0x84)] });
    expect([world.of("protocol-version"), world.of("disconnected")]).toEqual([[{ type: "protocol-version", version: 4 }], []]);
    await world.pass(DEFAULT_BACKOFF.floorMs);
    expect([supervisor.phase, world.dialer.last.version, world.of("connected")[0]?.protocolVersion]).toEqual(["online", 4, 4]);
    world.dialer.last.wire.cut();
    await world.pass(10_000);
    expect(world.dialer.last.version).toBe(4);
  });

  it("a version that the configuration fixes stays", async () => {
    const { world } = await Supervised.run({ options: { protocolVersion: 5 }, usually: refusing(0x84) });
    await world.pass(60_000);
    expect(new Set(world.dialer.peers.map(({ version }) => version))).toEqual(new Set([5]));
    expect(world.of("disconnected").length).toBeGreaterThan(2);
  });

  it("a broker that speaks neither version is asked no more often than any other", async () => {
    const { world } = await Supervised.run({ usually: refusing(0x84) });
    await world.pass(60_000);
    expect(world.of("protocol-version")).toHaveLength(1);
    expect(world.dialer.peers.length).toBeLessThan(12);
  });
});

describe("The end of a connection", () => {
  it("is told once, with its reason", async () => {
    const { world, ...rest } = await Supervised.run();
    world.news();
    world.dialer.last.send(TAKEN_OVER);
    await world.pass(0);
    expect(world.of("disconnected")).toMatchObject([{ code: "SESSION_TAKEN_OVER", wasConnected: true }]);
    expect(rest.supervisor.phase).toBe("waiting");
  });

  it("in the very bytes that bring CONNACK is noticed", async () => {
    const both = accepting({
      connect: (_, peer) => {
        peer.send({ cmd: "connack", sessionPresent: false, reasonCode: 0 }, TAKEN_OVER);
        return undefined;
      },
    });
    const { world, supervisor } = await Supervised.run({ next: [both] });
    await world.pass(60_000);
    expect(world.of("disconnected")).toMatchObject([{ code: "SESSION_TAKEN_OVER" }]);
    expect([supervisor.phase, world.dialer.peers.length]).toEqual(["online", 2]);
  });

  it("in the very bytes that bring CONNACK to a pending certificate is noticed", async () => {
    const both = accepting({
      connect: (_, peer) => {
        peer.send({ cmd: "connack", sessionPresent: false, reasonCode: 0 }, TAKEN_OVER);
        return undefined;
      },
    });
    const { world, supervisor } = await Supervised.run({ pending: true, next: [both] });
    await world.pass(60_000);
    expect(world.dialer.peers.length).toBeGreaterThan(1);
    expect([supervisor.phase, world.dialer.last.wire.isClosed]).toEqual(["online", false]);
  });

  it("of a link that tells of its end twice, and opens after it, counts once", async () => {
    const { world } = await Supervised.run();
    const { handlers, wire } = world.dialer.last;
    wire.cut(because("CONNECTION_RESET"));
    handlers.ended(because("CONNECTION_CLOSED"));
    handlers.opened({ tlsVersion: "TLSv1.3", cipher: "", resumed: true });
    handlers.data(Uint8Array.of(0x20, 2, 0, 0));
    handlers.drain();
    await world.pass(5_000);
    expect(world.of("disconnected").map(({ code }) => code)).toEqual(["CONNECTION_RESET"]);
    expect(world.of("connected").at(-1)).toMatchObject({ tlsVersion: "none", resumed: false });
  });
});

describe("A dialer that breaks its contract", () => {
  it("by throwing costs one attempt", async () => {
    const throwing: Behaviour = {
      dialled: () => {
        throw new Error("no sockets");
      },
    };
    const { world, supervisor } = await Supervised.run({ next: [throwing] });
    expect(world.of("disconnected")).toMatchObject([{ code: "CONNECTION_RESET", message: "the link could not be opened: no sockets" }]);
    await world.pass(5_000);
    expect(supervisor.phase).toBe("online");
  });

  it("by ending a link before it has returned it costs one attempt", async () => {
    const hasty: Behaviour = {
      dialled: ({ wire }) => {
        wire.cut(because("CONNECTION_REFUSED"));
        wire.cut(because("CONNECTION_REFUSED"));
      },
    };
    const { world, supervisor } = await Supervised.run({ next: [hasty] });
    expect(world.of("disconnected").map(({ code }) => code)).toEqual(["CONNECTION_REFUSED"]);
    await world.pass(5_000);
    expect(supervisor.phase).toBe("online");
  });
});

describe("The ladder, tied to links", () => {
  it("goes down to the recovery endpoint with the pre-shared key when the certificate is refused twice", async () => {
    const revoked = failing(because("CERTIFICATE_REVOKED"));
    const { world, supervisor, online } = await Supervised.run({ next: [revoked, revoked] });
    expect(world.news()).toEqual(["connecting", "disconnected", "retrying"]);
    await world.pass(2_000);
    const { endpoint, credential, received } = world.dialer.last;
    expect(endpoint).toMatchObject(RECOVERY);
    expect(credential).toEqual({ kind: "psk", slot: "psk", identity: ID });
    expect(received[0]).toMatchObject({ cmd: "connect", clientId: `${ID}~recovery`, clean: true });
    expect(world.news()).toEqual(["connecting", "disconnected", "credential-changed", "retrying", "connecting", "connected"]);
    expect([supervisor.phase, online]).toEqual(["online", [{ rung: "psk" }]]);
  });

  it("shows the pre-shared key of before where the new one is refused, without going back to a certificate in between", async () => {
    const [revoked, refused] = [failing(because("CERTIFICATE_REVOKED")), failing(because("PSK_REJECTED"))];
    const given = await Supervised.make({ next: [revoked, revoked, refused] });
    const { world, store, supervisor } = given;
    const slot = store.beginEnrolment();
    const chain = [await world.issueFor(world.keys.csr(slot, ID))];
    store.storePending(chain, world.platform.chains, "5a".repeat(16));
    store.commit();
    store.markReported();
    supervisor.start();
    await world.pass(10_000);
    expect(given.shown).toHaveLength(4);
    expect(world.dialer.peers.slice(2).map(({ credential }) => credential)).toEqual([
      { kind: "psk", slot: "psk-salted", identity: ID },
      { kind: "psk", slot: "psk", identity: ID },
    ]);
    expect([supervisor.phase, world.of("credential-changed").length]).toEqual(["online", 1]);
  });

  it("survives a key store that cannot make the pre-shared key", async () => {
    const revoked = failing(because("CERTIFICATE_REVOKED"));
    const { world, store, supervisor } = await Supervised.make({ next: [revoked, revoked] });
    const slot = store.beginEnrolment();
    store.storePending([await world.issueFor(world.keys.csr(slot, ID))], world.platform.chains, "5a".repeat(16));
    store.commit();
    store.markReported();
    world.brokenKeyCalls.add("importPsk");
    supervisor.start();
    await world.pass(600_000);
    expect(world.of("disconnected").map(({ code }) => code)).toContain("STORAGE_FAILED");
    expect([supervisor.phase, supervisor.attempt.rung]).toEqual(["online", "mtls"]);
  });

  it.each<[string, Case]>([
    ["no recovery endpoint is configured", { options: { recovery: undefined } as never }],
    ["the device has no pre-shared key", { psk: false }],
  ])("stays on mutual TLS when %s", async (_, given) => {
    const { world } = await Supervised.run({ ...given, usually: failing(because("CERTIFICATE_EXPIRED")) });
    await world.pass(DAY_MS / 24);
    expect(world.of("credential-changed")).toEqual([]);
    expect(new Set(world.dialer.peers.map(({ endpoint }) => endpoint.host))).toEqual(new Set([BROKER.host]));
  });

  it("shows the certificate again when nobody answers over the pre-shared key", async () => {
    const revoked = failing(because("CERTIFICATE_REVOKED"));
    const { world, supervisor } = await Supervised.run({ next: [revoked, revoked] });
    await world.pass(2_000);
    expect(world.dialer.last.credential.kind).toBe("psk");
    world.news();
    await world.pass(181_000);
    expect(world.of("credential-changed")).toMatchObject([{ from: "psk", to: "mtls", code: "RECOVERY_STALLED" }]);
    expect([supervisor.phase, world.dialer.last.credential.kind]).toEqual(["online", "mtls"]);
  });

  it("goes down without a connection when the device has no certificate, or its key is gone", async () => {
    const nothing = await Supervised.run({ certificate: false });
    expect([nothing.world.of("credential-changed"), nothing.shown]).toMatchObject([[{ code: "CERTIFICATE_REQUIRED" }], []]);
    await nothing.world.pass(1_000);
    expect(nothing.shown).toEqual(["psk"]);

    const keyless = await Supervised.make();
    keyless.world.keys.destroy("key-a");
    keyless.supervisor.start();
    await keyless.world.pass(1_000);
    expect([keyless.world.of("credential-changed"), keyless.shown]).toMatchObject([[{ code: "KEY_MISSING" }], ["psk"]]);
  });

  it("says that there is nothing to show, again and again and ever slower, where nothing can be done", async () => {
    const { world, supervisor } = await Supervised.run({ certificate: false, options: { recovery: undefined } as never });
    await world.pass(600_000);
    expect(new Set(world.of("disconnected").map(({ code }) => code))).toEqual(new Set(["CERTIFICATE_REQUIRED"]));
    expect([supervisor.phase, world.dialer.peers.length]).toEqual(["waiting", 0]);
    expect(world.of("retrying").length).toBeLessThan(20);
  });

  it("takes a silent end for the certificate's, where that has ended by a time nobody can have forged", async () => {
    for (const isProved of [true, false]) {
      const { world, store, supervisor, time } = await Supervised.make({
        usually: failing(because("CONNECTION_RESET")),
        lifetimeMs: DAY_MS,
      });
      if (isProved) time.atLeast(store.active!.certificate.notBeforeMs);
      await world.pass(2 * DAY_MS);
      supervisor.start();
      await world.pass(0);
      expect(world.of("disconnected")[0]!.code).toBe(isProved ? "CERTIFICATE_EXPIRED" : "CONNECTION_RESET");
      if (isProved) expect(world.of("disconnected")[0]!.message).toContain(store.active!.certificate.serial);
      await world.pass(600_000);
      expect(world.of("credential-changed").length > 0, `proved: ${isProved}`).toBe(isProved);
    }
  });

  it("does not blame the certificate for the end of a connection that it had opened", async () => {
    const { world } = await Supervised.run({ lifetimeMs: DAY_MS });
    await world.pass(2 * DAY_MS);
    world.dialer.last.wire.cut(because("CONNECTION_RESET"));
    await world.pass(0);
    expect(world.of("disconnected")[0]!.code).toBe("CONNECTION_RESET");
  });
});

describe("The proof of a pending certificate", () => {
  it("is CONNACK and one granted SUBACK; then it is committed and told", async () => {
    const silentSuback = accepting({ subscribe: () => undefined });
    const { world, store, supervisor, online } = await Supervised.run({ pending: true, next: [silentSuback] });
    const [oldSerial, newSerial] = [store.active!.certificate.serial, store.pending!.certificate.serial];
    expect([online, world.serial, world.of("renewed")]).toEqual([[], oldSerial, []]);
    for (const { messageId } of world.dialer.last.of("subscribe"))
      world.dialer.last.send({ cmd: "suback", messageId: messageId!, granted: [1] });
    await world.pass(0);
    expect(world.of("renewed")).toEqual([{ type: "renewed", oldSerial, newSerial, notAfterMs: store.active!.certificate.notAfterMs }]);
    expect([world.serial, world.stored.unreported, world.keys.has("key-a")]).toEqual([newSerial, true, false]);
    expect([online.length, supervisor.attempt, world.of("recovered")]).toEqual([1, { rung: "mtls", identity: "active" }, []]);
  });

  it.each<[string, Behaviour, FailureCode]>([
    [
      "a refused SUBACK",
      accepting({ subscribe: ({ messageId }) => ({ cmd: "suback", messageId: messageId!, granted: [0x87] }) }),
      "NOT_AUTHORIZED",
    ],
    ["a SUBACK that never comes", accepting({ subscribe: () => undefined }), "CONNECT_TIMEOUT"],
    [
      "a connection that ends before the SUBACK",
      accepting({
        subscribe: (_, { wire, time }) => {
          time.after(0, () => wire.cut(because("CONNECTION_CLOSED")));
          return undefined;
        },
      }),
      "CONNECTION_CLOSED",
    ],
  ])("fails with %s; the old one serves on, and the failure is counted then", async (_, behaviour, code) => {
    const { world, store, ...rest } = await Supervised.run({ pending: true, next: [behaviour] });
    const oldSerial = store.active!.certificate.serial;
    await world.pass(TIMEOUT_MS + 5_000);
    expect(world.of("disconnected")).toMatchObject([{ code, wasConnected: true }]);
    expect([world.serial, world.of("renewed"), world.of("connected").at(-1)?.serial]).toEqual([oldSerial, [], oldSerial]);
    expect([rest.online, rest.failedProofs.map((reason) => reason.code), store.pending === undefined]).toEqual([
      [{ rung: "mtls", identity: "active" }],
      [code],
      false,
    ]);
    expect(rest.supervisor.phase).toBe("online");
  });

  it("fails for good when the broker refuses the certificate: it is dropped, and the old one shown", async () => {
    const { world, store, ...rest } = await Supervised.run({ pending: true, next: [failing(because("CERTIFICATE_REJECTED"))] });
    const dropped = world.of("identity-dropped");
    expect([dropped, store.pending, rest.dropped]).toMatchObject([[{ code: "CERTIFICATE_REJECTED", message: "in a test" }], undefined, 1]);
    await world.pass(5_000);
    expect(world.dialer.peers.map(({ credential }) => credential.kind === "mtls" && credential.slot)).toEqual(["key-b", "key-a"]);
    expect(rest.supervisor.phase).toBe("online");
  });

  it("fails for good when its key is gone", async () => {
    const made = await Supervised.make({ pending: true });
    made.world.keys.destroy("key-b");
    made.supervisor.start();
    await made.world.pass(5_000);
    expect([made.world.of("identity-dropped"), made.dropped, made.shown]).toMatchObject([[{ code: "KEY_MISSING" }], 1, ["key-a"]]);
  });

  it("fails when the broker has refused the topic before, so that there is nothing to be granted", async () => {
    const refusal = accepting({ subscribe: ({ messageId }) => ({ cmd: "suback", messageId: messageId!, granted: [0x87] }) });
    const { world, supervisor } = await Supervised.run({ pending: true, next: [refusal, accepting(), accepting()] });
    await world.pass(10_000);
    supervisor.reconnect();
    await world.pass(10_000);
    expect(world.of("connecting").map(({ identity }) => identity)).toEqual(["pending", "active", "pending", "active"]);
    expect(world.of("disconnected").map(({ code }) => code)).toEqual(["NOT_AUTHORIZED", "NOT_AUTHORIZED"]);
  });

  it("ends recovery, and says so", async () => {
    const { world, store } = await Supervised.run({ certificate: false });
    await world.pass(1_000);
    const serial = await world.storePending(store);
    world.dialer.last.wire.cut();
    await world.pass(10_000);
    expect(world.of("renewed")).toEqual([{ type: "renewed", newSerial: serial, notAfterMs: store.active!.certificate.notAfterMs }]);
    expect(world.of("recovered")).toEqual([{ type: "recovered", serial }]);
    world.news();
    world.dialer.last.wire.cut();
    await world.pass(10_000);
    expect(world.of("connecting").map(({ identity }) => identity)).toEqual(["active"]);
  });

  it("that cannot be committed ends the connection, and the device goes on with the old certificate", async () => {
    const { world, store, supervisor } = await Supervised.make({ pending: true });
    const oldSerial = store.active!.certificate.serial;
    world.storage.isFull = true;
    supervisor.start();
    await world.pass(30_000);
    expect(world.of("disconnected")).toMatchObject([{ code: "STORAGE_FAILED", wasConnected: true }]);
    expect([supervisor.phase, world.of("connected").at(-1)?.serial, world.of("renewed")]).toEqual(["online", oldSerial, []]);
  });

  it("is told although the old identity cannot be cleared away", async () => {
    const { world, store, supervisor } = await Supervised.make({ pending: true });
    const newSerial = store.pending!.certificate.serial;
    world.brokenKeyCalls.add("destroy");
    supervisor.start();
    await world.pass(30_000);
    expect([supervisor.phase, world.serial]).toEqual(["online", newSerial]);
    expect(world.of("renewed").map((event) => event.newSerial)).toEqual([newSerial]);
  });

  it("lets a refused certificate go although storage fails: the old one is shown next", async () => {
    const { world, supervisor } = await Supervised.make({ pending: true, usually: refusedFor("key-b") });
    world.storage.isFull = true;
    supervisor.start();
    await world.pass(300_000);
    expect([supervisor.phase, world.of("connected").length]).toEqual(["online", 1]);
  });
});

/** A way on which one key's certificate is refused and all others are accepted. */
function refusedFor(slot: string): Behaviour {
  return {
    ...accepting(),
    dialled: (peer) => {
      if (peer.credential.kind === "mtls" && peer.credential.slot === slot) failing(because("CERTIFICATE_REJECTED")).dialled?.(peer);
    },
  };
}

describe("A redirect", () => {
  const moved = (serverReference: string): Behaviour => refusing(0x9d, { serverReference });
  const options = { redirects: ["other.test:8885"] };

  it("is followed to a broker on the list, and left when that one fails", async () => {
    const { world } = await Supervised.run({ options, next: [moved("other.test:8885"), failing(because("CONNECTION_REFUSED"))] });
    expect(world.of("redirected")).toEqual([{ type: "redirected", host: "other.test", port: 8885, code: "SERVER_MOVED" }]);
    await world.pass(10_000);
    expect(world.of("connecting").map(({ host }) => host)).toEqual([BROKER.host, "other.test", BROKER.host]);
  });

  it("is followed in a DISCONNECT too", async () => {
    const { world } = await Supervised.run({ options });
    world.dialer.last.send({ cmd: "disconnect", reasonCode: 0x9c, properties: { serverReference: "other.test:8885" } });
    await world.pass(10_000);
    expect(world.dialer.last.endpoint).toMatchObject({ host: "other.test", port: 8885 });
  });

  it("to anywhere else is not followed", async () => {
    const { world } = await Supervised.run({ options, next: [moved("evil.test:8885")] });
    await world.pass(10_000);
    expect([world.of("redirected"), world.dialer.last.endpoint.host]).toEqual([[], BROKER.host]);
  });

  it("by the recovery broker does not say that the device goes where it does not go", async () => {
    const { world } = await Supervised.run({ options, certificate: false, next: [moved("other.test:8885")] });
    await world.pass(30_000);
    const hosts = world.of("connecting").map(({ host }) => host);
    expect(world.of("redirected").length > 0).toBe(hosts.includes("other.test"));
  });
});

describe("Spare brokers", () => {
  const spares = [
    { host: "second.test", port: 8883 },
    { host: "third.test", port: 8884 },
  ];
  const [down, refused] = [failing(because("CONNECTION_REFUSED")), refusing(0x87)];
  const HOUR_MS = 3_600_000;
  const hosts = (world: World): string[] => world.of("connecting").map(({ host }) => host);

  it("are tried in order where the one before cannot be reached, is busy or is somebody else, and then the first again", async () => {
    const next = [down, failing(because("SERVER_CA_UNKNOWN")), refusing(0x89), accepting()];
    const { world, supervisor } = await Supervised.run({ options: { spares }, next });
    await world.pass(60_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test", "third.test", BROKER.host]);
    expect(supervisor.phase).toBe("online");
    await world.pass(2 * HOUR_MS);
    expect(hosts(world)).toHaveLength(4);
  });

  it("are not tried for what a broker says of the credential", async () => {
    const { world } = await Supervised.run({ options: { spares }, next: [refused, accepting()] });
    await world.pass(60_000);
    expect(hosts(world)).toEqual([BROKER.host, BROKER.host]);
  });

  it("are left for the first within the hour, whether it is back or not", async () => {
    const { world } = await Supervised.run({ options: { spares }, next: [down, accepting(), down, accepting(), accepting()] });
    await world.pass(60_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test"]);
    await world.pass(HOUR_MS / 2 - 60_000);
    expect(hosts(world)).toHaveLength(2);
    await world.pass(HOUR_MS / 2 + 60_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test", BROKER.host, "second.test"]);
    await world.pass(HOUR_MS + 60_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test", BROKER.host, "second.test", BROKER.host]);
    await world.pass(3 * HOUR_MS);
    expect(hosts(world)).toHaveLength(5);
  });

  it("are tried after the first broker lets the device in and out again, and the first after a good connection is lost", async () => {
    const { world } = await Supervised.run({ options: { spares } });
    world.dialer.last.wire.cut(because("CONNECTION_RESET"));
    await world.pass(600_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test"]);
    world.dialer.last.wire.cut(because("CONNECTION_RESET"));
    await world.pass(60_000);
    expect(hosts(world)).toEqual([BROKER.host, "second.test", BROKER.host]);
  });

  it("keep nobody from stopping, and no timer of an ended connection sends the next one away", async () => {
    const { world, supervisor } = await Supervised.run({ options: { spares }, next: [down] });
    await world.pass(60_000);
    void supervisor.stop();
    await world.pass(2 * HOUR_MS);
    expect([supervisor.phase, ...hosts(world)]).toEqual(["stopped", BROKER.host, "second.test"]);
    supervisor.start();
    await world.pass(60_000);
    expect(hosts(world)).toHaveLength(3);
  });
});

describe("A planned reconnect", () => {
  it("ends the connection in an orderly way and makes the next at once; it is no failure", async () => {
    const { world, supervisor, ...rest } = await Supervised.run();
    world.news();
    supervisor.reconnect();
    await world.pass(DEFAULT_BACKOFF.floorMs);
    expect(world.dialer.peers[0]!.of("disconnect")).toHaveLength(1);
    expect([world.news(), rest.online.length, supervisor.lastFailure]).toEqual([["connecting", "connected"], 2, undefined]);
  });

  it("while waiting shortens the wait", async () => {
    const { world, supervisor } = await Supervised.run({ next: [refusing(0x97)] });
    supervisor.reconnect();
    await world.pass(DEFAULT_BACKOFF.floorMs);
    expect(world.dialer.peers).toHaveLength(2);
    world.news();
    await world.pass(120_000);
    expect([world.dialer.peers.length, world.news()]).toEqual([2, []]);
  });

  it.each(["stopped", "dialing"] as const)("changes nothing while %s", async (phase) => {
    const { world, supervisor } = await Supervised.make({ usually: silent });
    if (phase === "dialing") supervisor.start();
    supervisor.reconnect();
    await world.pass(60_000);
    expect([supervisor.phase, world.dialer.peers.length]).toEqual([phase, phase === "dialing" ? 1 : 0]);
  });

  it("asked for twice makes one connection", async () => {
    const { world, supervisor } = await Supervised.run();
    supervisor.reconnect();
    supervisor.reconnect();
    await world.pass(60_000);
    expect([world.dialer.peers.length, supervisor.phase]).toEqual([2, "online"]);
  });

  it("whose link never ends is done all the same", async () => {
    const { world, supervisor } = await Supervised.run();
    world.dialer.last.wire.isDead = true;
    world.dialer.last.wire.cut = () => undefined;
    supervisor.reconnect();
    await world.pass(6_000);
    expect([world.dialer.peers.length, supervisor.phase]).toEqual([2, "online"]);
  });

  it("cut short by a stop leaves nothing behind: the next end of a connection is told", async () => {
    const { world, supervisor } = await Supervised.run();
    supervisor.reconnect();
    const stopped = supervisor.stop();
    await world.pass(0);
    await stopped;
    supervisor.start();
    await world.pass(0);
    world.news();
    world.dialer.last.wire.cut(because("CERTIFICATE_REVOKED"));
    await world.pass(0);
    expect(world.news()).toEqual(["disconnected", "retrying"]);
  });
});

describe("A stop", () => {
  /** Stops, and lets a day pass: whatever was under way would show. */
  async function stopped(made: Supervised, asked?: Promise<unknown>): Promise<void> {
    const { world, supervisor } = made;
    if (!asked) world.news();
    const done = asked ?? supervisor.stop();
    await world.pass(10_000);
    await done;
    if (asked) world.news();
    const dialled = world.dialer.peers.length;
    await world.pass(DAY_MS);
    expect([supervisor.phase, world.dialer.peers.length, world.news()]).toEqual(["stopped", dialled, []]);
    expect(world.dialer.peers.every(({ wire }) => wire.isClosed)).toBe(true);
  }

  it("while online disconnects in an orderly way, and tells once that the connection is gone", async () => {
    const made = await Supervised.run();
    await stopped(made);
    expect([made.world.dialer.last.of("disconnect").length, made.offline]).toEqual([1, 1]);
  });

  it.each<[string, Case]>([
    ["before anything", {}],
    ["while the link is opened", { usually: { dialled: () => undefined } }],
    ["while CONNACK is awaited", { usually: accepting({ connect: () => undefined }) }],
    ["while waiting", { usually: failing(because("DNS_FAILED")) }],
    ["during a proof", { pending: true, usually: accepting({ subscribe: () => undefined }) }],
    ["during recovery", { certificate: false }],
  ])("%s ends all there is", async (_, given) => {
    await stopped(await Supervised.run(given));
  });

  it("before the start is nothing", async () => {
    await stopped(await Supervised.make());
  });

  it("in the moment in which CONNACK or SUBACK arrives ends all there is, and commits nothing", async () => {
    for (const cmd of ["connect", "subscribe"]) {
      const made = await Supervised.make({ pending: true });
      const oldSerial = made.store.active!.certificate.serial;
      let stop: Promise<void> | undefined;
      const usual = accepting().answers!;
      made.world.dialer.usually = accepting({
        [cmd]: (packet, peer) => {
          peer.time.after(0, () => (stop = made.supervisor.stop()));
          return usual[cmd]!(packet, peer);
        },
      });
      made.supervisor.start();
      await made.world.pass(10_000);
      expect([made.supervisor.phase, made.world.serial, made.online]).toEqual(["stopped", oldSerial, []]);
      await stopped(made, stop);
    }
  });

  it("in the very turn in which CONNACK is read ends all there is", async () => {
    for (const pending of [false, true]) {
      const made = await Supervised.make({ pending });
      let stop: Promise<void> | undefined;
      made.world.dialer.usually = accepting({
        connect: (_, { time, handlers }) => {
          time.after(0, () => {
            handlers.data(Uint8Array.of(0x20, 3, 0, 0, 0));
            stop = made.supervisor.stop();
          });
          return undefined;
        },
      });
      made.supervisor.start();
      await stopped(
        made,
        made.world.pass(10_000).then(() => stop),
      );
      expect([made.online, made.world.of("connected")]).toEqual([[], []]);
    }
  });

  it("called twice settles twice, and ends one connection", async () => {
    const made = await Supervised.run();
    const both = Promise.all([made.supervisor.stop(), made.supervisor.stop()]);
    await made.world.pass(0);
    await both;
    expect(made.offline).toBe(1);
    await stopped(made);
  });

  it("settles although the link never ends", async () => {
    const { world, supervisor } = await Supervised.run();
    world.dialer.last.wire.cut = () => undefined;
    let isDone = false;
    void supervisor.stop().then(() => (isDone = true));
    await world.pass(6_000);
    expect(isDone).toBe(true);
  });

  it("is followed by a start when that was the last word", async () => {
    const { world, supervisor } = await Supervised.run();
    void supervisor.stop();
    supervisor.start();
    await world.pass(10_000);
    expect([supervisor.phase, world.dialer.peers.length]).toEqual(["online", 2]);
  });

  it("stays the last word after a start that came before the first stop was through", async () => {
    const made = await Supervised.run();
    void made.supervisor.stop();
    made.supervisor.start();
    await stopped(made);
  });

  it.each<[DeviceEvent["type"], Case]>([
    ["connecting", {}],
    ["connected", {}],
    ["disconnected", { usually: refusing(0x8a) }],
    ["retrying", { usually: refusing(0x8a) }],
    ["protocol-version", { usually: refusing(0x84) }],
    ["credential-changed", { usually: failing(because("CERTIFICATE_REVOKED")) }],
    ["redirected", { usually: refusing(0x9d, { serverReference: "other.test:8885" }), options: { redirects: ["other.test:8885"] } }],
    ["identity-dropped", { pending: true, usually: failing(because("CERTIFICATE_REVOKED")) }],
    ["renewed", { pending: true }],
  ])("asked for by a listener of %j ends all there is", async (type, given) => {
    const made = await Supervised.make(given);
    let stop: Promise<void> | undefined;
    made.onEvent = (event) => {
      if (event.type === type) stop ??= made.supervisor.stop();
    };
    made.supervisor.start();
    await made.world.pass(10_000);
    expect(stop).toBeDefined();
    const after = made.world.events.slice(made.world.events.findIndex((event) => event.type === type) + 1).map((event) => event.type);
    expect(after.filter((one) => ["connecting", "connected", "retrying"].includes(one))).toEqual([]);
    await stopped(made, stop);
    expect(made.online).toEqual([]);
  });
});

describe("Signing in", () => {
  it("asks for user name and password anew for each connection, and shows them to the broker of the application only", async () => {
    let count = 0;
    const login = (): Login => ({ username: ID, password: `secret-${++count}` });
    const revoked = failing(because("CERTIFICATE_REVOKED"));
    const { world } = await Supervised.run({ login });
    world.dialer.next = [revoked, revoked];
    world.dialer.last.wire.cut();
    await world.pass(10_000);
    const connects = world.dialer.peers.flatMap((peer) => peer.of("connect"));
    expect(connects.map(({ username, password }) => [username, password && String(password)])).toEqual([
      [ID, "secret-1"],
      [undefined, undefined],
    ]);
    expect(count, "asked for each attempt").toBe(3);
  });

  it("shows nothing any more when there is nothing any more to show", async () => {
    const logins: Login[] = [{ username: ID, password: "old" }, { username: ID }, {}];
    const { world } = await Supervised.run({ login: () => logins.shift() ?? {} });
    for (let i = 0; i < 2; i++) {
      world.dialer.last.wire.cut();
      await world.pass(5_000);
    }
    const connects = world.dialer.peers.map((peer) => peer.of("connect")[0]!);
    expect(connects.map(({ username, password }) => [username, password && String(password)])).toEqual([
      [ID, "old"],
      [ID, undefined],
      [undefined, undefined],
    ]);
  });

  it("that is refused is told, and costs the device neither its certificate nor a new one", async () => {
    const { world } = await Supervised.run({ login: () => ({ username: ID, password: "old" }), usually: refusing(0x87) });
    await world.pass(3_600_000);
    expect(world.of("credential-changed")).toEqual([]);
    expect(world.of("login-refused")[0]).toMatchObject({ code: "NOT_AUTHORIZED" });
    expect(world.of("login-refused").length).toBe(world.of("disconnected").length);
    expect(new Set(world.dialer.peers.map(({ credential }) => credential.kind))).toEqual(new Set(["mtls"]));
  });

  it("that nobody sends leaves a plain refusal to be weighed: PSK after minutes, not before", async () => {
    const { world } = await Supervised.run({ usually: refusing(0x87) });
    await world.pass(179_000);
    expect(world.of("credential-changed")).toEqual([]);
    await world.pass(900_000);
    expect(world.of("credential-changed")[0]).toMatchObject({ to: "psk", code: "NOT_AUTHORIZED" });
    expect(world.of("login-refused")).toEqual([]);
  });

  it("that fails costs one attempt, not the device", async () => {
    let isBroken = true;
    const login = (): Login => {
      if (isBroken) throw new Error("no password yet");
      return {};
    };
    const { world, supervisor } = await Supervised.run({ login });
    expect(world.of("disconnected")).toMatchObject([
      { code: "LOGIN_FAILED", class: "local", message: expect.stringContaining("no password yet") as string, wasConnected: false },
    ]);
    isBroken = false;
    await world.pass(5_000);
    expect(supervisor.phase).toBe("online");
  });
});

describe("A key store that fails", () => {
  it("when asked whether a key is there costs one attempt, not the device", async () => {
    const { world, supervisor } = await Supervised.run({ next: [failing(because("DNS_FAILED"))] });
    world.brokenKeyCalls.add("has");
    await world.pass(2_000).catch(() => undefined);
    world.brokenKeyCalls.clear();
    await world.pass(60_000);
    expect(supervisor.phase).toBe("online");
  });
});
