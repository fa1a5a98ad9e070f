/** Every target, and those that are broken on purpose. */
import type { Target } from "../fuzz-target.js";
import { BROKEN } from "./broken.js";
import { certificate } from "./certificate-target.js";
import { codecOracle } from "./codec-oracle.js";
import { enrolment } from "./enrolment-target.js";
import { frames } from "./frames-target.js";
import { packets } from "./packets-target.js";
import { provisioning } from "./provisioning-target.js";
import { records } from "./records-target.js";
import { session } from "./session-target.js";
import { texts } from "./texts-target.js";

export const TARGETS: readonly Target[] = [packets, codecOracle, session, certificate, enrolment, frames, provisioning, records, texts];

export function findTarget(name: string): Target | undefined {
  return [...TARGETS, ...BROKEN].find((target) => target.name === name);
}
