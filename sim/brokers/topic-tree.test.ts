import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TopicTree, matchesFilter } from "./topic-tree.js";

const level = fc.constantFrom("a", "b", "$x", "");
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/"));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, endsOpen]) => [...levels, ...(endsOpen ? ["#"] : [])].join("/"));

describe("topic filters", () => {
  // Examples of MQTT 3.1.1 section 4.7.
  it.each([
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/#", "sport", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["#", "$SYS/broker", false],
    ["+/monitor/Clients", "$SYS/monitor/Clients", false],
    ["$SYS/#", "$SYS/broker", true],
    ["a/b", "a/b", true],
    ["a/b", "a/B", false],
  ])("%s matches %s: %s", (pattern, name, expected) => {
    expect(matchesFilter(pattern, name)).toBe(expected);
    const tree = new TopicTree();
    tree.set(pattern, "client", 1);
    expect(tree.match(name)).toEqual(expected ? [{ clientId: "client", qos: 1 }] : []);
  });

  it("give each client once, with its highest QoS", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(filter, fc.constantFrom("x", "y", "z"), fc.integer({ min: 0, max: 2 })), { maxLength: 12 }),
        topic,
        (subscriptions, name) => {
          const tree = new TopicTree();
          const byKey = new Map<string, [string, string, number]>();
          for (const subscription of subscriptions) {
            tree.set(...subscription);
            byKey.set(`${subscription[0]} ${subscription[1]}`, subscription);
          }
          const expected = new Map<string, number>();
          for (const [pattern, clientId, qos] of byKey.values()) {
            if (matchesFilter(pattern, name)) expected.set(clientId, Math.max(qos, expected.get(clientId) ?? 0));
          }
          expect(new Map(tree.match(name).map((match) => [match.clientId, match.qos]))).toEqual(expected);
          for (const [pattern, clientId] of byKey.values()) tree.delete(pattern, clientId);
          expect(tree.match(name)).toEqual([]);
        },
      ),
    );
  });
});
