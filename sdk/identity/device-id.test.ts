import { describe, expect, it } from "vitest";
import { checkId } from "./device-id.js";

describe("checkId", () => {
  it.each(["a", "Z", "0", "sensor-1", "a.b_c-d", "7.x", "A".repeat(64)])("lets %j be a name", (id) => {
    expect(checkId(id)).toBe(id);
  });

  it.each(["", ".a", "-a", "_a", "a/b", "a+b", "a#", "a:b", "a b", "a\0", "a\n", "ä", "a~recovery", "$a", "devices/+"])(
    "refuses %j, which no topic, certificate or PSK file could carry",
    (id) => {
      expect(() => checkId(id)).toThrow(expect.objectContaining({ code: "INVALID_ID" }));
    },
  );

  it("refuses what is too long for a certificate", () => {
    expect(() => checkId("a".repeat(65))).toThrow(
      expect.objectContaining({ code: "INVALID_ID", message: "the id has 65 characters; at most 64 are allowed" }),
    );
  });
});
