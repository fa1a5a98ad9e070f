/** Puts one core to the test of one stage. The core is whatever this file was bundled with: that is how a mutated one is tried. */
import { FAULT_KINDS } from "../faults/fault-plan.js";
import { drainOnNode, runWorld } from "../node-host.js";
import { POWER_CUT_SCENES, playPowerCuts } from "../power-cuts.js";
import type { Violation } from "../world/chronicle.js";
import type { SceneStage, Verdict, WorldStage } from "./mutation.js";

export interface Trial {
  stage: WorldStage | SceneStage;
  /** So many seeds of worlds at most. */
  seeds: number;
}

/** Plays the stage until an invariant objects, or until the tries are used up. */
export function runTrial(trial: Trial): Promise<Verdict> {
  return trial.stage.kind === "world" ? tryWorlds(trial.stage, trial.seeds) : tryScene(trial.stage);
}

async function tryWorlds(stage: WorldStage, seeds: number): Promise<Verdict> {
  const faults = stage.faults === "all" ? FAULT_KINDS : FAULT_KINDS.filter((kind) => stage.faults.includes(kind.name));
  if (stage.faults !== "all" && faults.length !== stage.faults.length)
    throw new RangeError(`an unknown kind of fault among ${stage.faults.join(", ")}`);
  for (let seed = 1; seed <= seeds; seed++) {
    const { violations } = await runWorld({
      seed: String(seed),
      devices: stage.devices ?? 1,
      days: stage.days ?? 0.5,
      faults,
      stopAtViolation: true,
      ...(stage.backOnlineBoundMs === undefined ? {} : { backOnlineBoundMs: stage.backOnlineBoundMs }),
      ...(stage.traits ? { traits: stage.traits } : {}),
    });
    const verdict = verdictOf(violations, `seed ${seed}`, seed);
    if (verdict) return verdict;
  }
  return { found: false, tries: seeds };
}

async function tryScene(stage: SceneStage): Promise<Verdict> {
  const scene = POWER_CUT_SCENES.find((one) => one.name === stage.scene);
  if (!scene) throw new RangeError(`there is no scene called ${stage.scene}`);
  const whole = await playPowerCuts(scene, "1", [], drainOnNode);
  let tries = 1;
  for (let cut = -1; cut < whole.moments; cut++) {
    const { violations } = cut < 0 ? whole : await playPowerCuts(scene, "1", [cut], drainOnNode);
    const verdict = verdictOf(violations, cut < 0 ? `scene ${scene.name}` : `scene ${scene.name}, cut at ${cut}`, tries++);
    if (verdict) return verdict;
  }
  return { found: false, tries };
}

function verdictOf(violations: readonly Violation[], where: string, tries: number): Verdict | undefined {
  const first = violations[0];
  return first && { found: true, invariant: first.invariant, what: first.what, where, tries };
}
