import { describe, expect, it } from "vitest";
import { describeFault, settle } from "./delivery-account.js";
import type { DeviceAccount } from "./fleet-plan.js";

const account = (qos: string, notAccepted: readonly number[] = [], id = "a"): DeviceAccount => ({
  id,
  numbered: qos.length,
  notAccepted,
  qos,
});
const seen = (...counts: number[]): Map<string, Uint8Array> => new Map([["a", Uint8Array.from(counts)]]);

describe("the account of a fleet's messages", () => {
  it("finds nothing where each came once", () => {
    expect(settle([account("012")], seen(1, 1, 1))).toMatchObject({ accepted: { qos0: 1, qos1: 1, qos2: 1 }, delivered: 3, faultCount: 0 });
  });

  it.each([1, 2])("names a message that was accepted at QoS %i and never came", (qos) => {
    const { faults, faultCount } = settle([account(`${qos}${qos}`)], seen(1));
    expect(faults).toEqual([{ kind: "lost", id: "a", n: 1, qos }]);
    expect(faultCount).toBe(1);
    expect(describeFault(faults[0]!)).toBe(`a: message 1 (QoS ${qos}) was accepted and never delivered`);
  });

  it("names a device of which nothing came", () => {
    expect(settle([account("11")], new Map()).faultCount).toBe(2);
  });

  it("counts what is lost at QoS 0, and copies at QoS 1, as what they are: allowed", () => {
    expect(settle([account("01")], seen(0, 3))).toMatchObject({ lostAtQos0: 1, copiesAtQos1: 2, faultCount: 0 });
  });

  it("names a message of QoS 2 that came twice", () => {
    expect(settle([account("2")], seen(2)).faults).toEqual([{ kind: "doubled", id: "a", n: 0, qos: 2, times: 2 }]);
  });

  it("does not miss a message that its device had refused, and says when it came all the same", () => {
    expect(settle([account("22", [0, 1])], seen(0, 1))).toMatchObject({ accepted: { qos2: 0 }, unpromised: 1, faultCount: 0 });
  });

  it("names messages that no device made", () => {
    expect(settle([account("1")], seen(1, 0, 1)).faults).toEqual([{ kind: "invented", id: "a", n: 2 }]);
    expect(settle([], seen(1)).faults).toEqual([{ kind: "invented", id: "a", n: 0 }]);
  });

  it("counts every fault and keeps the first hundred", () => {
    const { faults, faultCount } = settle([account("1".repeat(250))], new Map());
    expect([faults.length, faultCount]).toEqual([100, 250]);
  });
});
