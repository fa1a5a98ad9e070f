import { describe, expect, it } from "vitest";
import { VersionChoice } from "./version-choice.js";

/** Attempts that end so, and the version of the next. */
function closed(choice: VersionChoice, times: number): number[] {
  return Array.from({ length: times }, () => {
    choice.failed("CONNECTION_CLOSED", true);
    return choice.version;
  });
}

describe("A version that was asked for", () => {
  it.each([4, 5] as const)("%i is kept, whatever the broker says", (asked) => {
    const choice = new VersionChoice(asked);
    expect(choice.failed("UNSUPPORTED_PROTOCOL_VERSION", true)).toBe(false);
    expect([...closed(choice, 5), choice.accepted(), choice.version]).toEqual([asked, asked, asked, asked, asked, false, asked]);
  });
});

describe("A version left to the device", () => {
  it("is 5.0 until the broker says that it does not know it, and 3.1.1 from then on", () => {
    const choice = new VersionChoice("auto");
    expect([choice.version, choice.failed("UNSUPPORTED_PROTOCOL_VERSION", true), choice.version]).toEqual([5, true, 4]);
    expect([choice.accepted(), ...closed(choice, 3)]).toEqual([false, 4, 4, 4]);
  });

  it("is 5.0 again when the broker says that it does not know 3.1.1, and at once only the first time it changes", () => {
    const guessing = new VersionChoice("auto");
    expect(closed(guessing, 2)).toEqual([5, 4]);
    expect([guessing.failed("UNSUPPORTED_PROTOCOL_VERSION", true), guessing.version]).toEqual([false, 5]);
    const told = new VersionChoice("auto");
    const answers = Array.from({ length: 4 }, () => [told.failed("UNSUPPORTED_PROTOCOL_VERSION", true), told.version]);
    expect(answers).toEqual([
      [true, 4],
      [false, 5],
      [false, 4],
      [false, 5],
    ]);
  });

  it("takes turns while the broker closes the connection instead of an answer", () => {
    expect(closed(new VersionChoice("auto"), 6)).toEqual([5, 4, 5, 4, 5, 4]);
  });

  it("is not doubted for what ends an attempt before the link is up, or otherwise", () => {
    const choice = new VersionChoice("auto");
    for (let n = 0; n < 5; n++) {
      choice.failed("CONNECTION_RESET", false);
      choice.failed("CERTIFICATE_EXPIRED", true);
      choice.failed("CONNECT_TIMEOUT", true);
    }
    expect(choice.version).toBe(5);
  });

  it("is not doubted any more once the broker has accepted 5.0", () => {
    const choice = new VersionChoice("auto");
    expect([...closed(choice, 1), choice.accepted(), ...closed(choice, 5)]).toEqual([5, false, 5, 5, 5, 5, 5]);
  });

  it("is asked for again after 3.1.1 was accepted for want of an answer, until that has happened three times", () => {
    const choice = new VersionChoice("auto");
    closed(choice, 2);
    const rounds: unknown[] = [];
    for (let round = 0; round < 3; round++) rounds.push(choice.version, choice.accepted(), choice.version, ...closed(choice, 1));
    expect(rounds).toEqual([4, true, 5, 4, 4, true, 5, 4, 4, true, 4, 4]);
  });

  it("is asked for again however often 3.1.1 was accepted where that had been closed too: then the broker was away", () => {
    const choice = new VersionChoice("auto");
    closed(choice, 3);
    for (let outage = 0; outage < 5; outage++) {
      closed(choice, choice.version === 5 ? 3 : 4);
      expect([choice.version, choice.accepted(), choice.version]).toEqual([4, true, 5]);
    }
  });

  it("goes back to 5.0 when the broker was only restarting", () => {
    const choice = new VersionChoice("auto");
    closed(choice, 2);
    choice.accepted();
    expect([choice.version, choice.accepted(), ...closed(choice, 4)]).toEqual([5, false, 5, 5, 5, 5]);
  });
});
