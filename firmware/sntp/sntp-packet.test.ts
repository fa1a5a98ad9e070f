import { describe, expect, it } from "vitest";
import { sntpReply, type ReplyOptions } from "../../test/support/firmware/sntp-server.js";
import { encodeRequest, judgeReply, type Verdict } from "./sntp-packet.js";

const NONCE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const NOW_MS = Date.UTC(2026, 10, 20, 12);
const DAY_MS = 86_400_000;

const judge = (reply: Uint8Array, { floorMs = NOW_MS - DAY_MS, sentAtMs = 1_000, receivedAtMs = 1_041 } = {}): Verdict =>
  judgeReply(reply, { nonce: NONCE, sentAtMs, receivedAtMs, floorMs });
const replied = (options: Partial<ReplyOptions> = {}): Uint8Array => sntpReply(encodeRequest(NONCE), { timeMs: NOW_MS, ...options });

describe("an SNTP request", () => {
  it("is 48 bytes that say nothing but its version, its mode and the nonce", () => {
    const request = encodeRequest(NONCE);
    expect(request).toHaveLength(48);
    expect(request[0]).toBe(0b00_100_011);
    expect([...request.subarray(1, 40)].every((byte) => byte === 0)).toBe(true);
    expect(request.subarray(40)).toEqual(NONCE);
  });
});

describe("an SNTP reply", () => {
  it("gives the wall time at monotonic zero, half the way added", () => {
    const verdict = judge(replied({ heldMs: 1 }));
    expect(verdict.kind).toBe("time");
    // 41 ms there and back, 1 ms of them at the server: 20 ms old when it came, at monotonic 1,041.
    expect(verdict.kind === "time" && verdict.wallStartMs).toBeCloseTo(NOW_MS + 20 - 1_041, 0);
  });

  it("is a stray when it is short, of another version or mode, or answers another request", () => {
    expect(judge(replied().subarray(0, 47)).kind).toBe("stray");
    expect(judge(replied({ mode: 3 })).kind).toBe("stray");
    expect(judge(replied({ mode: 5 })).kind).toBe("stray");
    expect(judge(replied({ version: 2 })).kind).toBe("stray");
    expect(judge(sntpReply(encodeRequest(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 9)), { timeMs: NOW_MS })).kind).toBe("stray");
  });

  it("may be of version 3", () => {
    expect(judge(replied({ version: 3 })).kind).toBe("time");
  });

  it("can be a kiss of death", () => {
    expect(judge(replied({ stratum: 0, reference: "RATE" }))).toEqual({ kind: "kiss", code: "RATE" });
    expect(judge(replied({ stratum: 0, reference: "\u0000\nAB" }))).toEqual({ kind: "kiss", code: "??AB" });
  });

  it.each<[string, Partial<ReplyOptions>, string]>([
    ["its clock is not set", { leap: 3 }, "unsynchronised"],
    ["its stratum is 16", { stratum: 16 }, "unsynchronised"],
    ["it is far from its reference", { rootDelayMs: 4_000 }, "uncertain"],
    ["it is unsure of its reference", { rootDispersionMs: 2_000 }, "uncertain"],
    ["it sat on the request", { heldMs: 1_500 }, "too-slow"],
    ["it sent the reply before it got the request", { heldMs: -10 }, "too-slow"],
    ["it says a time that is known to have passed", { timeMs: NOW_MS - 2 * DAY_MS }, "implausible"],
    ["it says 1970", { timeMs: 5_000 }, "implausible"],
    ["it says a time decades ahead", { timeMs: Date.UTC(2087, 0, 1) }, "implausible"],
  ])("is refused when %s", (_why, options, reason) => {
    expect(judge(replied(options))).toEqual({ kind: "refused", reason });
  });

  it("is refused when it took too long to come: half the way is a guess", () => {
    expect(judge(replied(), { sentAtMs: 0, receivedAtMs: 2_500 })).toEqual({ kind: "refused", reason: "too-slow" });
  });

  it("is refused when a timestamp is absent", () => {
    const reply = replied();
    reply.fill(0, 40, 48);
    expect(judge(reply)).toEqual({ kind: "refused", reason: "unsynchronised" });
  });

  it("may be a little before the floor: clocks drift", () => {
    expect(judge(replied({ timeMs: NOW_MS - 300_000 }), { floorMs: NOW_MS }).kind).toBe("time");
    expect(judge(replied({ timeMs: NOW_MS - 700_000 }), { floorMs: NOW_MS }).kind).toBe("refused");
  });

  it("is understood after February 2036, when NTP's seconds begin anew", () => {
    const timeMs = Date.UTC(2041, 5, 1);
    const verdict = judge(replied({ timeMs }));
    expect(verdict.kind === "time" && verdict.wallStartMs).toBeCloseTo(timeMs + 20 - 1_041, 0);
  });

  it("gives a time also where no floor is known", () => {
    expect(judge(replied(), { floorMs: 0 }).kind).toBe("time");
  });

  it("never throws, whatever comes", () => {
    let seed = 12_345;
    const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) & 0xff;
    const kinds = new Set<string>();
    for (let round = 0; round < 20_000; round++) {
      const packet = Uint8Array.from({ length: random() % 60 }, random);
      if (packet.length >= 32) packet.set(NONCE, 24);
      if (packet.length > 0 && round % 2 === 0) packet[0] = (random() & 0xc0) | 0x24;
      kinds.add(judge(packet).kind);
    }
    expect([...kinds].sort()).toEqual(["kiss", "refused", "stray"]);
  });
});
