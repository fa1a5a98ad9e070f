import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { Arrivals } from "./arrivals.js";
import { DEFAULT_LIMITS, type BrokerLimits } from "./broker-events.js";

class Arriving extends EventEmitter {
  constructor(readonly remoteAddress: string) {
    super();
  }
}

function arrivals(limits: Partial<BrokerLimits>): { admit: (address: string) => Arriving | undefined; later: (ms: number) => void } {
  let nowMs = 0;
  const subject = new Arrivals({ ...DEFAULT_LIMITS, ...limits }, () => nowMs);
  return {
    admit: (address) => {
      const socket = new Arriving(address);
      return subject.admit(socket as unknown as Parameters<Arrivals["admit"]>[0]) ? socket : undefined;
    },
    later: (ms) => (nowMs += ms),
  };
}

describe("arriving connections", () => {
  it("are bounded for one IPv4 address and one IPv6 /64, until one closes", () => {
    const { admit } = arrivals({ maxConnectionsPerNetwork: 2 });
    const [first] = [admit("192.0.2.1"), admit("192.0.2.1")];
    expect(admit("192.0.2.1")).toBeUndefined();
    expect(admit("192.0.2.2")).toBeDefined();
    first?.emit("close");
    expect(admit("192.0.2.1")).toBeDefined();
    expect([admit("2001:db8::1"), admit("2001:db8::2:3"), admit("2001:db8:0:0:ffff::1")].map((socket) => socket !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
    expect(admit("2001:db8:0:1::1")).toBeDefined();
  });

  it("come at the rate of all and of one network, a second's worth at once", () => {
    const { admit, later } = arrivals({ maxConnectionsPerSecond: 3, maxConnectionsPerSecondPerNetwork: 2 });
    const come = (...hosts: number[]): boolean[] => hosts.map((host) => admit(`192.0.2.${host}`) !== undefined);
    expect(come(1, 1, 1, 2, 3)).toEqual([true, true, false, true, false]);
    later(500);
    expect(come(1, 1)).toEqual([true, false]);
    later(60_000);
    expect(come(1, 1, 1, 2, 3)).toEqual([true, true, false, true, false]);
  });

  it("come at a rate below one in a second too", () => {
    const { admit, later } = arrivals({ maxConnectionsPerSecond: 0.1 });
    const come = (): boolean => admit("192.0.2.1") !== undefined;
    expect([come(), come()]).toEqual([true, false]);
    later(9_000);
    expect(come()).toBe(false);
    later(1_000);
    expect(come()).toBe(true);
  });
});
