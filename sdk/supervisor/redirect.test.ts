import { describe, expect, it } from "vitest";
import { failure, type FailureCode } from "../failure.js";
import { redirectTarget } from "./redirect.js";

const ALLOWED = ["other.test:8885", "third.test:8886", "[2001:db8::1]:8883"];

function target(
  serverReference: string | undefined,
  code: FailureCode = "USE_ANOTHER_SERVER",
  allowed: readonly string[] = ALLOWED,
): unknown {
  return redirectTarget(failure(code, "in a test", serverReference === undefined ? {} : { serverReference }), allowed);
}

describe("redirectTarget", () => {
  it.each(["USE_ANOTHER_SERVER", "SERVER_MOVED"] as const)("follows %s to a broker on the list", (code) => {
    expect(target("other.test:8885", code)).toEqual({ host: "other.test", port: 8885 });
  });

  it.each(["SERVER_BUSY", "NOT_AUTHORIZED", "CONNECTION_RESET"] as const)("does not follow %s, whatever it refers to", (code) => {
    expect(target("other.test:8885", code)).toBeUndefined();
  });

  it("takes the first of several that is allowed", () => {
    expect(target("evil.test:8885  third.test:8886 other.test:8885")).toEqual({ host: "third.test", port: 8886 });
  });

  it("takes an IPv6 address out of its brackets", () => {
    expect(target("[2001:db8::1]:8883")).toEqual({ host: "2001:db8::1", port: 8883 });
  });

  it.each([undefined, "", " ", "evil.test:8885", "other.test", "other.test:8886", "OTHER.test:8885", "other.test:8885.evil.test"])(
    "goes nowhere for the reference %j",
    (reference) => {
      expect(target(reference)).toBeUndefined();
    },
  );

  it.each(["other.test", ":8885", "other.test:", "other.test:0", "other.test:65536", "other.test:-1", "other.test:mqtts", ""])(
    "goes nowhere for %j although somebody put it on the list",
    (name) => {
      expect(target(name, "SERVER_MOVED", [name])).toBeUndefined();
    },
  );

  it("goes nowhere when nothing is allowed", () => {
    expect(target("other.test:8885", "SERVER_MOVED", [])).toBeUndefined();
  });
});
