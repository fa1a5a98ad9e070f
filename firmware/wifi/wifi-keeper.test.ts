import { beforeEach, describe, expect, it } from "vitest";
import { FakeWifi } from "../../test/support/firmware/fake-wifi.js";
import { ManualTime } from "../../test/support/firmware/manual-timers.js";
import { WifiKeeper, type WifiNetwork } from "./wifi-keeper.js";
import { DEFAULT_WIFI_POLICY } from "./wifi-state.js";

beforeEach(() => {
  FakeWifi.made.length = 0;
  FakeWifi.refuses = false;
});

const MINUTE_MS = 60_000;

function scene({ fraction = 0.5, network = { ssid: "plant", password: "secret" } as WifiNetwork } = {}) {
  const time = new ManualTime();
  const lines: string[] = [];
  const log = (level: string, message: string): unknown => lines.push(`${level} ${message}`);
  const keeper = new WifiKeeper({ WiFi: FakeWifi, clock: time.clock, scheduler: time.scheduler, fraction: () => fraction, log }, network);
  let ups = 0;
  let downs = 0;
  keeper.onChange(() => (keeper.isUp ? ups++ : downs++));
  keeper.start();
  const wifi = FakeWifi.made.at(-1)!;
  const connects = (): number => wifi.calls.filter((call) => call.startsWith("connect")).length;
  return { time, keeper, wifi, lines, ups: () => ups, downs: () => downs, connects };
}

describe("WifiKeeper", () => {
  it("joins the network, and is up once there is an address", () => {
    const { keeper, wifi, ups } = scene();
    expect(wifi.calls).toEqual(["connect plant secret"]);
    wifi.becomes(400);
    expect(keeper.isUp).toBe(false);
    wifi.becomes(500);
    expect(keeper.isUp).toBe(true);
    expect(ups()).toBe(1);
    expect(keeper.signalDbm).toBe(-61);
  });

  it("joins an open network without a password", () => {
    expect(scene({ network: { ssid: "guest" } }).wifi.calls).toEqual(["connect guest -"]);
  });

  it("comes back after the access point went away, without being asked", () => {
    const { time, keeper, wifi, ups, downs } = scene();
    wifi.becomes(500);
    time.advance(MINUTE_MS);
    wifi.becomes(200);
    expect(keeper.isUp).toBe(false);
    expect(downs()).toBe(1);
    time.advance(1_000);
    expect(wifi.calls).toEqual(["connect plant secret", "connect plant secret"]);
    wifi.becomes(500);
    expect(ups()).toBe(2);
  });

  it("takes an address that was lost for a network that was lost", () => {
    const { time, wifi, keeper } = scene();
    wifi.becomes(500);
    wifi.becomes(400);
    expect(keeper.isUp).toBe(false);
    expect(wifi.calls.at(-1)).toBe("disconnect");
    time.advance(2_000);
    expect(wifi.calls.at(-1)).toBe("connect plant secret");
  });

  it("waits longer after each failure in a row, up to a minute, and never less than half a second", () => {
    const { time, wifi } = scene({ fraction: 0.999 });
    const restsMs: number[] = [];
    for (let attempt = 0; attempt < 10; attempt++) {
      wifi.becomes(200);
      const before = time.nowMs;
      while (wifi.connection !== 300) time.advance(10);
      restsMs.push(Math.round((time.nowMs - before) / 1_000));
    }
    expect(restsMs).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    const eager = scene({ fraction: 0 });
    eager.wifi.becomes(200);
    eager.time.advance(499);
    expect(eager.connects()).toBe(1);
    eager.time.advance(1);
    expect(eager.connects()).toBe(2);
  });

  it("gives up an attempt that leads nowhere, and tries again", () => {
    const { time, wifi, connects } = scene();
    wifi.becomes(400);
    time.advance(DEFAULT_WIFI_POLICY.joinTimeoutMs);
    expect(wifi.calls.at(-1)).toBe("disconnect");
    time.advance(1_000);
    expect(connects()).toBe(2);
  });

  it("tries again where the driver refuses", () => {
    FakeWifi.refuses = true;
    const { time, wifi, connects } = scene();
    time.advance(1_000);
    FakeWifi.refuses = false;
    time.advance(MINUTE_MS);
    expect(connects()).toBeGreaterThan(1);
    wifi.becomes(500);
    expect(FakeWifi.made).toHaveLength(1);
  });

  it("counts a join that comes late, in the rest after a failure, as one", () => {
    const { time, wifi, keeper, connects } = scene();
    wifi.becomes(200);
    wifi.becomes(500);
    expect(keeper.isUp).toBe(true);
    time.advance(5 * MINUTE_MS);
    expect(connects()).toBe(1);
  });

  it("joins anew when it is up but nothing ever answers, and waits longer each time in a row", () => {
    const { time, wifi, connects } = scene();
    const upForMinutes: number[] = [];
    for (let round = 0; round < 6; round++) {
      wifi.becomes(500);
      const since = time.nowMs;
      const before = connects();
      while (connects() === before) time.advance(1_000);
      upForMinutes.push(Math.round((time.nowMs - since) / MINUTE_MS));
    }
    expect(upForMinutes).toEqual([10, 20, 40, 80, 80, 80]);
  });

  it("stays up as long as something answers now and then", () => {
    const { time, wifi, keeper, connects } = scene();
    wifi.becomes(500);
    for (let hour = 0; hour < 24 * 12; hour++) {
      time.advance(5 * MINUTE_MS);
      keeper.proof();
    }
    expect(connects()).toBe(1);
    expect(keeper.isUp).toBe(true);
  });

  it("joins anew ten minutes after the last answer, however long it waited before", () => {
    const { time, wifi, keeper, connects } = scene();
    wifi.becomes(500);
    time.advance(10 * MINUTE_MS + 2_000);
    expect(connects()).toBe(2);
    wifi.becomes(500);
    time.advance(7 * MINUTE_MS);
    keeper.proof();
    time.advance(9 * MINUTE_MS);
    keeper.proof();
    time.advance(10 * MINUTE_MS - 1_000);
    expect(connects()).toBe(2);
    time.advance(2_000);
    expect(connects()).toBe(3);
  });

  it("rests briefly again after a connection that lasted", () => {
    const { time, wifi } = scene({ fraction: 0.999 });
    for (let attempt = 0; attempt < 8; attempt++) {
      wifi.becomes(200);
      time.advance(MINUTE_MS);
    }
    wifi.becomes(500);
    time.advance(DEFAULT_WIFI_POLICY.backoff.stableAfterMs);
    wifi.becomes(200);
    time.advance(1_000);
    expect(wifi.connection).toBe(300);
  });

  it("does nothing any more after stop, and starts anew", () => {
    const { time, wifi, keeper, connects } = scene();
    wifi.becomes(500);
    keeper.stop();
    expect(wifi.calls.at(-1)).toBe("disconnect");
    wifi.becomes(500);
    keeper.proof();
    time.advance(24 * 60 * MINUTE_MS);
    expect(connects()).toBe(1);
    expect(time.pending).toBe(0);
    wifi.connection = 200;
    keeper.start();
    keeper.start();
    expect(connects()).toBe(2);
  });

  it("never says the password", () => {
    FakeWifi.refuses = true;
    const { time, wifi, lines } = scene();
    time.advance(MINUTE_MS);
    wifi.becomes(500);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join()).not.toContain("secret");
  });
});
