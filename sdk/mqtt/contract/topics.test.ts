import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkFilter, checkTopic, matches } from "./topics.js";

describe("matching", () => {
  test.each([
    ["a", "a", true],
    ["a", "b", false],
    ["a/b", "a", false],
    ["+", "a", true],
    ["+", "a/b", false],
    ["+/+", "/a", true],
    ["/+", "/a", true],
    ["+", "/a", false],
    ["#", "a/b/c", true],
    ["a/#", "a", true],
    ["a/#", "a/b/c", true],
    ["a/#", "ab", false],
    ["a/+/c", "a/b/c", true],
    ["a/+/c", "a//c", true],
    ["a/+", "a/", true],
    ["a/+", "a", false],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["$SYS/+", "$SYS/x", true],
    ["$share/g/a/+", "a/b", true],
    ["$share/g/#", "$SYS/x", false],
    ["$share/g//a", "/a", true],
    ["$shared/a", "$shared/a", true],
  ])("filter %s and topic %s: %s", (filter, topic, expected) => {
    expect(matches(filter, topic)).toBe(expected);
  });

  test("is what the levels say, for any filter and topic", () => {
    const level = fc.constantFrom("", "a", "b", "$x");
    const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/"));
    const filter = fc
      .array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 4 })
      .chain((levels) => fc.constantFrom(levels.join("/"), [...levels, "#"].join("/")));
    fc.assert(
      fc.property(filter, topic, (one, other) => {
        const expression = one.replace(/\$/g, "\\$").replace(/\/#$/, "(/.*)?").replace(/\+/g, "[^/]*");
        const hidden = other.startsWith("$") && one.startsWith("+");
        expect(matches(one, other)).toBe(!hidden && new RegExp(`^${expression}$`).test(other));
      }),
    );
  });
});

describe("validity", () => {
  test("what is too long is refused, counted in bytes", () => {
    expect(checkTopic("ü".repeat(32_767))).toHaveLength(32_767);
    expect(() => checkTopic("ü".repeat(32_768))).toThrowError(expect.objectContaining({ code: "INVALID_TOPIC" }));
  });

  test.each(["a/b#", "#/a", "a/#/b", "a+/b", "$share", "$share/", "$share/g", "$share/g/", "$share/#/a", "\udc00"])(
    "the filter %j is refused",
    (filter) => {
      expect(() => checkFilter(filter)).toThrowError(expect.objectContaining({ code: "INVALID_FILTER" }));
    },
  );

  test.each(["+", "#", "a/+/#", "/", "$share/g/+/#", "$SYS/#", "a b/ü/😀"])("the filter %j is taken", (filter) => {
    expect(checkFilter(filter)).toBe(filter);
  });

  test("an error shows a long topic cut short", () => {
    expect(() => checkTopic(`${"a".repeat(1_000)}#`)).toThrowError(/^.{60,160}$/);
  });
});
