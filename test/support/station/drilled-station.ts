/** For drills: a running `hawser station run` whose tiles sort the boards of a jig, and what its ledger says of those that passed. */
import { expect } from "vitest";
import type { Jig, Verdict } from "../../../sim/boards/jig.js";
import type { LedgerLine } from "../../../host-tools/station/factory/ledger-records.js";
import type { RunningCli } from "../host-tools/test-cli.js";

/** The operator's hands: each head's verdict sorts its board. */
export function judged(station: RunningCli, jig: Jig): RunningCli {
  const seen = new Set<unknown>();
  void station
    .waitFor("head", (event) => {
      const { name, state, failure } = event;
      if (seen.has(event)) return false;
      seen.add(event);
      if (state === "passed" || state === "failed")
        jig.judge(String(name), state === "passed" ? "passed" : (failure as { class: Verdict }).class);
      return false;
    })
    .catch(() => undefined);
  return station;
}

export interface PassedBoard {
  readonly id: string;
  readonly mac: unknown;
  readonly publicKeyHash: unknown;
  readonly serial: unknown;
  /** Observed, each once, in their first order. */
  readonly steps: readonly string[];
}

export function passedIn(lines: readonly LedgerLine[]): PassedBoard[] {
  const ids = lines.flatMap((line) => (line.event === "step" && line.step === "passed" ? [line.id] : []));
  expect(new Set(ids).size).toBe(ids.length);
  return ids.map((id) => {
    const mine = lines.filter((line) => "id" in line && line.id === id);
    const observed = mine.flatMap((line) => (line.event === "step" && line.phase === "observed" ? [line] : []));
    const fact = (step: string, name: string): unknown => observed.filter((line) => line.step === step).at(-1)?.facts?.[name];
    const reserved = mine.find((line) => line.event === "reserved");
    return {
      id,
      mac: reserved?.event === "reserved" ? reserved.mac : undefined,
      publicKeyHash: fact("key", "publicKeyHash"),
      serial: fact("issued", "serial"),
      steps: [...new Set(observed.map(({ step }) => step))],
    };
  });
}
