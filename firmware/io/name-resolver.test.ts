import { describe, expect, it } from "vitest";
import { ManualTime } from "../../test/support/firmware/manual-timers.js";
import type { ResolveName } from "./ecma419.js";
import { NameResolver } from "./name-resolver.js";

function scene(resolveName: ResolveName) {
  const time = new ManualTime();
  const answers: (string | undefined)[] = [];
  const resolver = new NameResolver(resolveName, time.scheduler, 10_000);
  return { time, answers, resolve: (host: string) => resolver.resolve(host, (address) => answers.push(address)) };
}

describe("NameResolver", () => {
  it("asks nobody for an address that is one already", () => {
    const { time, answers, resolve } = scene(() => {
      throw new Error("not to be asked");
    });
    resolve("10.1.2.255");
    expect(answers).toEqual([]);
    time.advance(0);
    expect(answers).toEqual(["10.1.2.255"]);
  });

  it.each(["10.1.2.256", "10.1.2", "1.2.3.4.5", "::1", "1.2.3.", "a.b.c.d"])("asks for %s, which is none", (host) => {
    const asked: string[] = [];
    const { resolve } = scene((name) => asked.push(name));
    resolve(host);
    expect(asked).toEqual([host]);
  });

  it("answers only after resolve has returned, also where the system answers at once", () => {
    const { time, answers, resolve } = scene((name, done) => done(name, "192.0.2.1"));
    resolve("broker.example");
    expect(answers).toEqual([]);
    time.advance(0);
    expect(answers).toEqual(["192.0.2.1"]);
    expect(time.pending).toBe(0);
  });

  it("gives up by itself when the system never answers, and drops the answer that comes after", () => {
    const lookups: ((name: string, address?: string) => void)[] = [];
    const { time, answers, resolve } = scene((_name, done) => lookups.push(done));
    resolve("broker.example");
    time.advance(9_999);
    expect(answers).toEqual([]);
    time.advance(1);
    lookups[0]!("broker.example", "192.0.2.1");
    time.advance(0);
    expect(answers).toEqual([undefined]);
  });

  it("takes a refusal of the system for no address", () => {
    const { time, answers, resolve } = scene(() => {
      throw new Error("no memory");
    });
    resolve("broker.example");
    time.advance(0);
    expect(answers).toEqual([undefined]);
  });

  it("takes an IPv6 address for none: the sockets cannot use it", () => {
    const { time, answers, resolve } = scene((name, done) => done(name, "2001:db8::1"));
    resolve("broker.example");
    time.advance(0);
    expect(answers).toEqual([undefined]);
  });

  it("says nothing after it was cancelled", () => {
    const lookups: ((name: string, address?: string) => void)[] = [];
    const { time, answers, resolve } = scene((_name, done) => lookups.push(done));
    resolve("broker.example")();
    lookups[0]!("broker.example", "192.0.2.1");
    time.advance(60_000);
    expect(answers).toEqual([]);
    expect(time.pending).toBe(0);
  });
});
