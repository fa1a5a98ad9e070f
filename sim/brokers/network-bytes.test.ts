import { expect, it } from "vitest";
import { NetworkBytes } from "./network-bytes.js";

it("lets one IPv4 address or IPv6 /64 send at its rate, a second's worth at once, over however many connections", () => {
  let nowMs = 0;
  const bytes = new NetworkBytes(() => nowMs);
  const take = (address: string, sizeBytes: number): number => bytes.take(address, sizeBytes, 1_000);
  expect(take("192.0.2.1", 600)).toBe(0);
  expect(take("192.0.2.1", 600)).toBeCloseTo(0.2);
  expect(take("192.0.2.2", 600)).toBe(0);
  expect([take("2001:db8::1", 900), take("2001:db8::2:3", 900)]).toEqual([0, 0.8]);
  expect(take("2001:db8:0:1::1", 900)).toBe(0);
  nowMs = 10_000;
  expect(take("192.0.2.1", 1_000)).toBe(0);
  expect(take("192.0.2.1", 500)).toBeCloseTo(0.5);
});
