import { describe, expect, it } from "vitest";
import type { ProgramAccount } from "../program/program-plan.js";
import { describeFault } from "./delivery-account.js";
import { settlePrograms } from "./program-account.js";
import { contentOf, entryOf, levelAndContent, TRIED } from "./program-content.js";

type Sent = readonly [topic: string, payload: string, qos?: number];

/** What a device accepted, in order. */
const account = (sent: readonly Sent[], givenUp = 0, id = "a"): ProgramAccount => ({
  id,
  published: Float64Array.from(sent, ([topic, payload, qos = 1]) => entryOf(qos, contentOf(topic, payload))),
  givenUp,
  commandsTaken: new Map(),
  filters: [],
  rate: 0,
});

/** What the watcher counted of a device, each message as often as it came. */
const seen = (came: readonly Sent[], id = "a"): Map<string, Map<number, number>> => {
  const counts = new Map<number, number>();
  for (const [topic, payload] of came) {
    const content = contentOf(topic, Buffer.from(payload));
    counts.set(content, (counts.get(content) ?? 0) + 1);
  }
  return new Map([[id, counts]]);
};

const times = (count: number, ...sent: Sent): Sent[] => Array.from({ length: count }, () => sent);

describe("the account of a program's messages", () => {
  it("finds nothing where each came once, at every QoS", () => {
    const sent: Sent[] = [
      ["up/x", "1", 0],
      ["up/x", "2", 1],
      ["up/x", "3", 2],
    ];
    expect(settlePrograms([account(sent)], seen(sent))).toEqual({
      accepted: { qos0: 1, qos1: 1, qos2: 1 },
      delivered: 3,
      lostAtQos0: 0,
      copiesAtQos1: 0,
      unpromised: 0,
      faults: [],
      faultCount: 0,
    });
  });

  it.each([1, 2])("names the device whose messages of QoS %i never came, and how many", (qos) => {
    const sent: Sent[] = [
      ["up/x", "1", qos],
      ["up/x", "2", qos],
      ["up/x", "3", qos],
    ];
    const { faults, faultCount, delivered } = settlePrograms([account(sent)], seen([["up/x", "2"]]));
    expect({ faults, faultCount, delivered }).toEqual({ faults: [{ kind: "missing", id: "a", count: 2 }], faultCount: 2, delivered: 1 });
    expect(describeFault(faults[0]!)).toBe("a: 2 messages were accepted and never delivered");
  });

  it("names a device of which nothing came at all", () => {
    expect(settlePrograms([account(times(2, "up/x", "1"))], new Map()).faults).toEqual([{ kind: "missing", id: "a", count: 2 }]);
  });

  it.each([
    ["payload", ["up/x", "2"]],
    ["topic", ["up/y", "1"]],
  ] as const)("does not take a message with another %s for the one that is missing", (_what, other) => {
    const { delivered, faults } = settlePrograms([account([["up/x", "1"]])], seen([other]));
    expect([delivered, faults.map(({ kind }) => kind)]).toEqual([0, ["foreign", "missing"]]);
  });

  it("does not take another device's message for the one that is missing", () => {
    expect(settlePrograms([account([["up/x", "1"]])], seen([["up/x", "1"]], "b")).faultCount).toBe(1);
  });

  it("compares the number of messages that are equal", () => {
    const settled = settlePrograms([account(times(5, "up/x", "on"))], seen(times(3, "up/x", "on")));
    expect(settled).toMatchObject({ accepted: { qos1: 5 }, delivered: 3, faults: [{ kind: "missing", id: "a", count: 2 }], faultCount: 2 });
  });

  it("does not let a copy of one message stand for another that is lost", () => {
    const settled = settlePrograms([account([...times(1, "up/x", "1"), ...times(1, "up/x", "2")])], seen(times(2, "up/x", "1")));
    expect(settled).toMatchObject({ delivered: 1, copiesAtQos1: 1, faults: [{ kind: "missing", count: 1 }] });
  });

  it("allows copies at QoS 1 and counts them", () => {
    expect(settlePrograms([account(times(2, "up/x", "1"))], seen(times(5, "up/x", "1")))).toMatchObject({
      delivered: 2,
      copiesAtQos1: 3,
      faults: [],
    });
  });

  it.each([0, 2])("names the device whose messages of QoS %i came more often than they were published", (qos) => {
    const settled = settlePrograms([account(times(2, "up/x", "1", qos))], seen(times(5, "up/x", "1")));
    expect(settled).toMatchObject({ delivered: 2, lostAtQos0: 0, copiesAtQos1: 0, faultCount: 3 });
    expect(settled.faults).toEqual([{ kind: "repeated", id: "a", count: 3 }]);
    expect(describeFault(settled.faults[0]!)).toBe("a: 3 messages came more often than their QoS allows");
  });

  it("allows the loss of messages at QoS 0 and counts it", () => {
    expect(settlePrograms([account(times(3, "up/x", "1", 0))], seen(times(1, "up/x", "1")))).toMatchObject({
      delivered: 1,
      lostAtQos0: 2,
      faultCount: 0,
    });
  });

  it("takes the one of equal messages that did not come for the one that was promised nothing", () => {
    const sent: Sent[] = [...times(2, "up/x", "1", 0), ["up/x", "1", 1], ["up/x", "1", 2]];
    const settled = (came: number): unknown => settlePrograms([account(sent)], seen(times(came, "up/x", "1")));
    expect(settled(4)).toMatchObject({ delivered: 4, lostAtQos0: 0, faultCount: 0 });
    expect(settled(3)).toMatchObject({ delivered: 3, lostAtQos0: 1, faultCount: 0 });
    expect(settled(1)).toMatchObject({ delivered: 1, lostAtQos0: 2, faults: [{ kind: "missing", count: 1 }] });
  });

  it("does not miss the messages that the SDK told its application to be given up, and no others", () => {
    const sent = times(3, "up/x", "1");
    expect(settlePrograms([account(sent, 3)], new Map()).faults).toEqual([]);
    expect(settlePrograms([account(sent, 2)], new Map())).toMatchObject({ faults: [{ kind: "missing", count: 1 }], faultCount: 1 });
    expect(settlePrograms([account(sent, 1)], seen(sent)).faultCount).toBe(0);
  });

  it("keeps the devices apart, and one device's given up messages are not another's", () => {
    const came = new Map([...seen(times(1, "up/x", "1"), "a"), ...seen([], "b")]);
    const settled = settlePrograms([account(times(1, "up/x", "1"), 1, "a"), account(times(1, "up/x", "1"), 0, "b")], came);
    expect(settled).toMatchObject({ accepted: { qos1: 2 }, delivered: 1, faults: [{ kind: "missing", id: "b", count: 1 }] });
  });

  it("names a device in whose name somebody else published", () => {
    const settled = settlePrograms([account([["up/x", "1"]])], seen([["up/x", "1"], ...times(2, "up/x", "forged")]));
    expect(settled).toMatchObject({ delivered: 1, faults: [{ kind: "foreign", id: "a", count: 2 }], faultCount: 2 });
    expect(describeFault(settled.faults[0]!)).toBe("a: 2 messages came that its program never published");
  });

  it("takes a message that came although its program was told of a failure for nobody else's, and promises nothing of it", () => {
    const tried = account(times(2, "up/x", "1", TRIED));
    expect(settlePrograms([tried], seen(times(1, "up/x", "1")))).toMatchObject({ delivered: 0, unpromised: 1, faults: [] });
    expect(settlePrograms([tried], new Map())).toMatchObject({ unpromised: 0, faults: [] });
    const alsoAccepted = account([...times(1, "up/x", "1", 2), ...times(1, "up/x", "1", TRIED)]);
    expect(settlePrograms([alsoAccepted], seen(times(2, "up/x", "1")))).toMatchObject({ delivered: 1, unpromised: 1, faults: [] });
  });

  it("keeps the first hundred faults and counts all", () => {
    const accounts = Array.from({ length: 103 }, (_, n) => account(times(2, "up/x", "1"), 0, `device-${n}`));
    const { faults, faultCount } = settlePrograms(accounts, new Map());
    expect([faults.length, faultCount]).toEqual([100, 206]);
  });
});

describe("the content of a message", () => {
  it("is the same for the device's text and the watcher's bytes, and survives with its QoS in one number", () => {
    for (const qos of [0, 1, 2])
      for (const payload of ["", "1", "grüße", "x".repeat(10_000)]) {
        const content = contentOf("devices/a/up/x", payload);
        expect(contentOf("devices/a/up/x", Buffer.from(payload))).toBe(content);
        expect(levelAndContent(entryOf(qos, content))).toEqual({ level: qos, content });
      }
  });

  it("tells ten thousand readings of a device apart", () => {
    const contents = Array.from({ length: 10_000 }, (_, n) => contentOf("devices/a/up/x", `{"n":${n}}`));
    expect(new Set(contents).size).toBe(10_000);
  });

  it("tells where the topic ends and the payload begins", () => {
    expect(contentOf("up/ab", "c")).not.toBe(contentOf("up/a", "bc"));
  });

  it("is exact up to its greatest value", () => {
    const greatest = 2 ** 48 - 1;
    expect(levelAndContent(entryOf(2, greatest))).toEqual({ level: 2, content: greatest });
    expect(levelAndContent(entryOf(TRIED, greatest))).toEqual({ level: TRIED, content: greatest });
    expect(levelAndContent(entryOf(1, 0))).toEqual({ level: 1, content: 0 });
  });
});
