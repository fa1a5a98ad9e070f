import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import type { Verdict } from "./mutation.js";
import { loadTrial, MUTATIONS, mutationText, tryMutation } from "./mutations.js";
import { findCode } from "./source-text.js";
import type { Trial } from "./trial.js";

/** One of each sort; `npm run world -- mutations` tries all. */
const TRIED_HERE = [
  "the backoff begins anew with every connection, however short",
  "a reset connection leads to PSK",
  "a device that waits does not hear that the network is back",
  "a device asks for ever with a key whose certificate was revoked before it came",
  "the old key is destroyed before the new identity is committed",
  "a message is acknowledged before the application is done with it",
  "publish settles before the broker has the message",
  "what was in flight goes behind what was never sent",
  "the outbox has no bounds",
  "a TLS session that was offered stays where it was kept",
  "a link to a new root counts whoever signed it",
  "a new root takes the place of the old one at once",
  "a kept TLS session serves whatever certificate is shown",
];

describe("deliberate faults in copies of the core", () => {
  let sound: (trial: Trial) => Promise<Verdict>;
  beforeAll(async () => {
    sound = await loadTrial();
  });

  it("are many, each with a name of its own, and each still fits the source exactly once", () => {
    expect(MUTATIONS.length).toBeGreaterThanOrEqual(20);
    expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
    const misfits = MUTATIONS.filter(
      ({ file, find }) => findCode(readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8"), find).length !== 1,
    );
    expect(misfits.map(({ name }) => name)).toEqual([]);
  });

  for (const name of TRIED_HERE) {
    it(`are found: ${name}`, async () => {
      const mutation = MUTATIONS.find((one) => one.name === name)!;
      const result = await tryMutation(mutation, sound, 20);
      expect(mutationText(result)).toMatch(/^ok /);
      expect(mutation.invariants).toContain(result.invariant);
    });
  }

  it("are refused when they do not fit the source", async () => {
    const mutation = { ...MUTATIONS[0]!, find: "no such text" };
    await expect(loadTrial(mutation)).rejects.toMatchObject({ code: "MUTATION_OUT_OF_DATE" });
  });
});
