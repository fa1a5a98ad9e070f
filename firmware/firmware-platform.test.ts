import { beforeEach, describe, expect, it } from "vitest";
import type { KeyStore, LinkHandlers, Storage } from "../sdk/platform.js";
import { utf8Encode } from "../sdk/encoding/text.js";
import { keyValueStorage } from "./io/key-value-storage.js";
import { firmwarePlatform } from "./firmware-platform.js";
import { FakeNvs } from "../test/support/firmware/fake-stores.js";
import { FakeTcp } from "../test/support/firmware/fake-tcp.js";
import { ManualTime } from "../test/support/firmware/manual-timers.js";
import type { TlsEngine, TlsEngines } from "./tls/tls-engine.js";

const BUILD_MS = Date.UTC(2026, 10, 20);
const HOUR_MS = 3_600_000;

beforeEach(() => {
  FakeTcp.made.length = 0;
});

class LwipTcp extends FakeTcp {
  constructor(options: ConstructorParameters<typeof FakeTcp>[1]) {
    super("lwip", options);
  }
}

/** Engines that fail at `start`, and tell by what time they were to judge. */
function recordingTls(judgedAt: number[]): TlsEngines {
  const engine: Partial<TlsEngine> = {
    usePsk: () => true,
    start(_name, trustedTimeMs) {
      judgedAt.push(trustedTimeMs);
      return false;
    },
    failure: () => 3,
    detail: () => 0,
    close: () => undefined,
  };
  return { createEngine: () => engine as TlsEngine, createSession: () => ({ clear: () => undefined }) };
}

function scene(storage: Storage = keyValueStorage(new FakeNvs())) {
  const time = new ManualTime();
  const judgedAt: number[] = [];
  const platform = firmwarePlatform({
    TCP: LwipTcp,
    resolveName: (name, done) => done(name, "192.0.2.1"),
    timers: { set: (callback, delayMs) => time.scheduler.after(delayMs, callback), clear: (cancel) => cancel() },
    clock: { ticks: () => time.nowMs, systemMs: () => 0, systemTrusted: false },
    random: { bytes: (size) => new Uint8Array(size), fraction: () => 0.5 },
    storage,
    keyStore: {} as KeyStore,
    tls: recordingTls(judgedAt),
    log: () => undefined,
    buildTimeMs: BUILD_MS,
  });
  const told: string[] = [];
  const handlers: LinkHandlers = {
    opened: () => told.push("opened"),
    data: () => undefined,
    drain: () => undefined,
    ended: ({ code }) => told.push(`ended ${code}`),
  };
  const dialTls = (): void => {
    platform.dialer.dial({ host: "broker.example", port: 8883 }, { kind: "psk", slot: "psk", identity: "x" }, 1_000, handlers);
  };
  return { time, platform, told, handlers, judgedAt, dialTls };
}

describe("firmwarePlatform", () => {
  it("dials over the sockets given, and tells that the network was reached once TCP is up", () => {
    const { time, platform, told, handlers } = scene();
    let reached = 0;
    platform.onReached = () => reached++;
    platform.dialer.dial({ host: "broker.example", port: 1883 }, { kind: "none" }, 1_000, handlers);
    time.advance(0);
    expect(FakeTcp.made[0]!.options).toMatchObject({ address: "192.0.2.1", port: 1883 });
    expect(reached).toBe(0);
    FakeTcp.made[0]!.connected();
    FakeTcp.made[0]!.turn();
    expect(told).toEqual(["opened"]);
    expect(reached).toBe(1);
  });

  it("tells that the network was reached by all that comes over a connection that stands: Wi-Fi would be taken down under it", () => {
    const { time, platform, handlers } = scene();
    platform.dialer.dial({ host: "broker.example", port: 1883 }, { kind: "none" }, 1_000, handlers);
    time.advance(0);
    FakeTcp.made[0]!.connected();
    FakeTcp.made[0]!.turn();
    let reached = 0;
    platform.onReached = () => reached++;
    FakeTcp.made[0]!.receives(0xd0, 0);
    FakeTcp.made[0]!.turn();
    expect(reached).toBe(1);
  });

  it("judges servers by the build time at first, by the clock once it is set", () => {
    const { time, platform, judgedAt, dialTls } = scene();
    time.advance(5_000);
    dialTls();
    platform.clock.setWallStart(BUILD_MS + 90 * 24 * HOUR_MS);
    dialTls();
    expect(judgedAt).toEqual([BUILD_MS + 5_000, BUILD_MS + 90 * 24 * HOUR_MS + 5_000]);
  });

  it("remembers over a restart what time it was at least", () => {
    const storage = keyValueStorage(new FakeNvs());
    storage.put("time-floor", utf8Encode(String(BUILD_MS + 30 * 24 * HOUR_MS)));
    const { judgedAt, dialTls } = scene(storage);
    dialTls();
    expect(judgedAt).toEqual([BUILD_MS + 30 * 24 * HOUR_MS]);
  });

  it("holds time servers against a floor that a wrong clock cannot move", () => {
    const { time, platform } = scene();
    platform.clock.setWallStart(Date.UTC(2080, 0, 1));
    time.advance(HOUR_MS);
    expect(platform.floorMs()).toBe(BUILD_MS + HOUR_MS);
  });
});
