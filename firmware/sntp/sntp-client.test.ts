import { beforeEach, describe, expect, it } from "vitest";
import { DeviceClock } from "../io/device-clock.js";
import { NameResolver } from "../io/name-resolver.js";
import { FakeUdp, sntpReply, type ReplyOptions } from "../../test/support/firmware/sntp-server.js";
import { ManualTime } from "../../test/support/firmware/manual-timers.js";
import { SntpClient } from "./sntp-client.js";
import { DEFAULT_SNTP_POLICY } from "./sntp-state.js";

const FLOOR_MS = Date.UTC(2026, 10, 20);
const HOUR_MS = 3_600_000;
/** The true time when the test began. */
const START_MS = FLOOR_MS + 5 * HOUR_MS;
const ADDRESSES: Readonly<Record<string, string>> = { "a.example": "192.0.2.1", "b.example": "192.0.2.2", "c.example": "192.0.2.3" };

beforeEach(() => {
  FakeUdp.made.length = 0;
  FakeUdp.failWith = undefined;
});

function scene(servers: string[], { namesWork = true, joined = true } = {}) {
  const listeners = new Set<() => void>();
  const network = {
    isUp: joined,
    onChange(changed: () => void) {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    becomes(isUp: boolean) {
      network.isUp = isUp;
      for (const changed of listeners) changed();
    },
  };
  const time = new ManualTime();
  const names = { work: namesWork };
  const resolver = new NameResolver((name, done) => names.work && done(name, ADDRESSES[name]), time.scheduler);
  const clock = new DeviceClock({ ticks: () => time.nowMs, systemMs: () => 0, systemTrusted: false });
  let count = 0;
  const random = { bytes: (size: number) => Uint8Array.from({ length: size }, () => ++count), fraction: () => 1 };
  let sets = 0;
  const lines: string[] = [];
  const client = new SntpClient(
    {
      UDP: FakeUdp,
      resolver,
      clock,
      scheduler: time.scheduler,
      random,
      network,
      log: (level, message, fields) => lines.push(`${level} ${message} ${String(fields?.["why"] ?? "")}`.trim()),
      floorMs: () => FLOOR_MS,
      setWallStart(wallStartMs) {
        sets++;
        clock.setWallStart(wallStartMs);
      },
    },
    servers,
  );
  const errorMs = (): number => Math.abs(clock.wallMs() - (START_MS + time.nowMs));
  return { time, client, clock, names, lines, network, listeners, sets: () => sets, errorMs };
}

type Scene = ReturnType<typeof scene>;

/** Brings the next request to its server and answers it. */
function answer({ time }: Scene, options: Partial<ReplyOptions> & { offMs?: number; from?: string } = {}): string {
  time.advance(0);
  const socket = FakeUdp.made.at(-1)!;
  const { bytes, address, port } = socket.sent[0]!;
  time.advance(20);
  const timeMs = START_MS + time.nowMs - 10 + (options.offMs ?? 0);
  socket.delivers({ bytes: sntpReply(bytes, { timeMs, ...options }), address: options.from ?? address, port });
  return `${address}:${port}`;
}

describe("SntpClient", () => {
  it("sets the clock when two servers agree", () => {
    const all = scene(["a.example", "b.example"]);
    all.client.start();
    expect(answer(all)).toBe("192.0.2.1:123");
    expect(all.clock.wallTrusted()).toBe(false);
    expect(answer(all)).toBe("192.0.2.2:123");
    expect(all.clock.wallTrusted()).toBe(true);
    expect(all.errorMs()).toBeLessThan(15);
    expect(FakeUdp.made.every((socket) => socket.closed)).toBe(true);
  });

  it("asks a third server where two disagree, and believes the two that agree", () => {
    const all = scene(["a.example", "b.example", "c.example"]);
    all.client.start();
    answer(all, { offMs: 30 * 86_400_000 });
    answer(all);
    expect(all.clock.wallTrusted()).toBe(false);
    answer(all);
    expect(all.errorMs()).toBeLessThan(15);
  });

  it("takes no time from one liar, however often it is asked", () => {
    const all = scene(["a.example", "b.example"]);
    all.client.start();
    for (let round = 0; round < 20; round++) {
      answer(all, { offMs: 30 * 86_400_000 });
      answer(all);
      all.time.advance(DEFAULT_SNTP_POLICY.backoff.capMs);
    }
    expect(all.sets()).toBe(0);
  });

  it("is content with one where only one is configured, also by address and port", () => {
    const all = scene(["192.0.2.9:12300"]);
    all.client.start();
    expect(answer(all)).toBe("192.0.2.9:12300");
    expect(all.errorMs()).toBeLessThan(15);
  });

  it("does not believe an answer from another address, nor to another request, and goes on waiting for the right one", () => {
    const all = scene(["a.example"]);
    all.client.start();
    answer(all, { from: "192.0.2.66" });
    const socket = FakeUdp.made.at(-1)!;
    const { bytes, address, port } = socket.sent[0]!;
    const forged = sntpReply(new Uint8Array(48), { timeMs: START_MS });
    socket.delivers({ bytes: forged, address, port });
    expect(all.sets()).toBe(0);
    socket.delivers({ bytes: forged, address, port }, { bytes: sntpReply(bytes, { timeMs: START_MS + all.time.nowMs }), address, port });
    expect(all.sets()).toBe(1);
  });

  it("asks the next server when one does not answer in time", () => {
    const all = scene(["a.example", "b.example", "c.example"]);
    all.client.start();
    all.time.advance(3_000);
    expect(FakeUdp.made[0]!.closed).toBe(true);
    answer(all);
    answer(all);
    expect(all.sets()).toBe(1);
    expect(all.lines).toContain("debug a time server gave no time no answer");
  });

  it("asks again hours later, and lets the clock be put right in either direction", () => {
    const all = scene(["a.example", "b.example"]);
    all.client.start();
    answer(all, { offMs: HOUR_MS });
    answer(all, { offMs: HOUR_MS });
    expect(all.errorMs()).toBeGreaterThan(HOUR_MS - 100);
    all.time.advance(DEFAULT_SNTP_POLICY.againAfterMs - 10);
    expect(FakeUdp.made).toHaveLength(2);
    all.time.advance(10);
    answer(all);
    answer(all);
    expect(all.errorMs()).toBeLessThan(15);
  });

  it("leaves a server alone that asks for it", () => {
    const all = scene(["a.example"]);
    all.client.start();
    answer(all, { stratum: 0, reference: "RATE" });
    all.time.advance(3.9 * HOUR_MS);
    expect(FakeUdp.made).toHaveLength(1);
    all.time.advance(HOUR_MS);
    expect(FakeUdp.made.length).toBeGreaterThan(1);
  });

  it("never asks faster than every two seconds, whatever fails", () => {
    const all = scene(["a.example"]);
    FakeUdp.failWith = "no socket";
    all.client.start();
    all.time.advance(HOUR_MS);
    expect(all.lines.filter((line) => line.startsWith("warn")).length).toBeLessThan(20);
    FakeUdp.failWith = undefined;
    all.names.work = false;
    all.time.advance(HOUR_MS);
    expect(FakeUdp.made).toHaveLength(0);
    expect(all.time.pending).toBeLessThanOrEqual(2);
  });

  it("does not sit out a long rest once the network is up, and does not hurry when the clock is set", () => {
    const all = scene(["a.example"], { namesWork: false });
    all.client.start();
    all.time.advance(6 * HOUR_MS);
    all.names.work = true;
    all.time.advance(20_000);
    const before = FakeUdp.made.length;
    all.client.networkUp();
    all.time.advance(0);
    expect(FakeUdp.made.length).toBe(before + 1);
    answer(all);
    all.client.networkUp();
    all.time.advance(HOUR_MS);
    expect(FakeUdp.made.length).toBe(before + 1);
  });

  it("asks nobody before there is a network, and warns of nothing: the first round is not a lost one", () => {
    const all = scene(["a.example", "b.example"], { joined: false });
    all.client.start();
    all.time.advance(HOUR_MS);
    expect([FakeUdp.made.length, all.time.pending]).toEqual([0, 0]);
    all.network.becomes(true);
    answer(all);
    answer(all);
    expect([all.sets(), all.lines]).toEqual([1, ["info the clock is set"]]);
  });

  it("begins again when the network comes back while it waits for an answer, and blames no server", () => {
    const all = scene(["a.example"]);
    all.client.start();
    all.time.advance(0);
    all.network.becomes(false);
    expect(FakeUdp.made.at(-1)!.closed).toBe(true);
    all.time.advance(HOUR_MS);
    all.network.becomes(true);
    answer(all);
    expect([FakeUdp.made.length, all.sets(), all.lines]).toEqual([2, 1, ["info the clock is set"]]);
  });

  it("restarts a doomed exchange when it is told that the network is up, though not within two seconds of it", () => {
    const all = scene(["a.example"]);
    all.client.start();
    all.time.advance(500);
    all.client.networkUp();
    all.time.advance(1_499);
    expect(FakeUdp.made).toHaveLength(1);
    all.time.advance(1);
    answer(all);
    expect([FakeUdp.made.length, all.sets()]).toEqual([2, 1]);
  });

  it("stops in the middle of anything", () => {
    const all = scene(["a.example", "b.example"]);
    all.client.start();
    all.time.advance(0);
    all.client.stop();
    expect(FakeUdp.made.at(-1)!.closed).toBe(true);
    all.time.advance(24 * HOUR_MS);
    expect(FakeUdp.made).toHaveLength(1);
    expect([all.time.pending, all.listeners.size]).toEqual([0, 0]);
    all.client.networkUp();
    expect(all.time.pending).toBe(0);
  });
});
