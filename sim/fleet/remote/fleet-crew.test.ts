import { describe, expect, it } from "vitest";
import { readOffer } from "./crew-talk.js";
import { parseNatsUrl } from "./fleet-bus.js";
import { shares } from "./fleet-crew.js";
import { NATS_PACKAGE, natsDriver } from "./nats-driver.js";
import { createRequire } from "node:module";

const ids = Array.from({ length: 10 }, (_, n) => `d${n}`);
const sizes = (...rooms: number[]): number[] =>
  shares(
    ids,
    rooms.map((devicesAtMost) => ({ devicesAtMost })),
  ).map(({ length }) => length);

describe("the devices of a fleet on many machines", () => {
  it("are shared out evenly, as far as each machine takes them, each to one", () => {
    expect(sizes(100)).toEqual([10]);
    expect(sizes(100, 100)).toEqual([5, 5]);
    expect(sizes(1, 100, 100)).toEqual([1, 5, 4]);
    expect(sizes(3, 3, 4)).toEqual([3, 3, 4]);
    expect(shares(ids, [{ devicesAtMost: 3 }, { devicesAtMost: 9 }]).flat()).toEqual(ids);
  });
});

describe("the NATS server of a fleet", () => {
  it.each([
    ["tls://nats.example.com:4333", { host: "nats.example.com", port: 4333, isTls: true }],
    ["tls://[2001:db8::1]", { host: "2001:db8::1", port: 4222, isTls: true }],
    ["nats://localhost:4222", { host: "localhost", port: 4222, isTls: false }],
    ["nats://127.0.0.1", { host: "127.0.0.1", port: 4222, isTls: false }],
  ])("is taken by %s", (text, url) => expect(parseNatsUrl(text)).toEqual(url));

  it.each([
    ["nats://nats.example.com:4222", "NATS_EXPOSED"],
    ["nats://10.0.0.1", "NATS_EXPOSED"],
    ["nats://127.0.0.1.example.com", "NATS_EXPOSED"],
    ["tls://user:secret@nats.example.com", "BAD_URL"],
    ["tls://nats.example.com:0", "BAD_URL"],
    ["http://localhost", "BAD_URL"],
  ])("is not taken by %s: %s", (text, code) => {
    expect(() => parseNatsUrl(text)).toThrow(
      expect.objectContaining({ code, message: expect.not.stringContaining("secret") as string }) as Error,
    );
  });

  it("says which package to install where there is none, the one that package.json names", () => {
    const absent = (): never => {
      throw new Error("none");
    };
    expect(() => natsDriver(absent)).toThrow(
      expect.objectContaining({
        code: "NATS_MISSING",
        nextStep: expect.stringContaining(`npm install ${NATS_PACKAGE}`) as string,
      }) as Error,
    );
    const { optionalDependencies } = createRequire(import.meta.url)("../../../package.json") as {
      optionalDependencies: Record<string, string>;
    };
    expect(NATS_PACKAGE).toBe(`@nats-io/transport-node@${optionalDependencies["@nats-io/transport-node"] ?? ""}`);
  });
});

describe("an offer", () => {
  const offer = { v: 1, machine: "a1", name: "ci-2", devicesAtMost: 5, slots: 2 };
  const read = (value: unknown): unknown => readOffer(new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)));

  it("is read, and nothing that would not fit into a subject or a screen is believed", () => {
    expect(read(offer)).toEqual(offer);
    for (const wrong of [
      "{",
      "null",
      { ...offer, v: 2 },
      { ...offer, machine: "a.>" },
      { ...offer, name: "\u001b[2J" },
      { ...offer, slots: 0 },
    ])
      expect(read(wrong)).toBeUndefined();
    expect(read({ ...offer, devicesAtMost: 1e9 })).toBeUndefined();
  });
});
