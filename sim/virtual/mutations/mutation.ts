/** A deliberate fault in a copy of the core, and what has to notice it. */
import type { InvariantName } from "../world/chronicle.js";
import type { GivenTraits } from "../world/traits.js";

export interface Mutation {
  /** What is wrong with the copy. */
  name: string;
  /** Source file, from the repository's root. */
  file: string;
  /** Occurs exactly once in the file, however its lines are broken; else the mutation is out of date, and that is an error. */
  find: string;
  replace: string;
  /** One of these has to object. */
  invariants: readonly InvariantName[];
  /** Where it shows. */
  stage: WorldStage | SceneStage;
}

/** Worlds with faults of some kinds, seed after seed. */
export interface WorldStage {
  kind: "world";
  /** Names of fault kinds; "all" of them, or none. */
  faults: readonly string[] | "all";
  days?: number;
  /** Default 1. */
  devices?: number;
  backOnlineBoundMs?: number;
  traits?: GivenTraits;
}

/** Power cuts at every moment of a scene. */
export interface SceneStage {
  kind: "power-cuts";
  scene: string;
}

/** Does the mutated copy misbehave, and how is it seen? */
export interface Verdict {
  found: boolean;
  invariant?: InvariantName;
  what?: string;
  /** The seed, or the scene and the cuts, at which it was found. */
  where?: string;
  tries: number;
}
