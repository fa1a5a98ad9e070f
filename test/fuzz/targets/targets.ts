/** Every target, and those that are broken on purpose. */
import type { Target } from "../target.js";
import { BROKEN } from "./broken.js";
import { certificate } from "./certificate.js";
import { codecOracle } from "./codec-oracle.js";
import { enrolment } from "./enrolment.js";
import { frames } from "./frames.js";
import { packets } from "./packets.js";
import { provisioning } from "./provisioning.js";
import { records } from "./records.js";
import { session } from "./session.js";
import { texts } from "./texts.js";

export const TARGETS: readonly Target[] = [packets, codecOracle, session, certificate, enrolment, frames, provisioning, records, texts];

export function findTarget(name: string): Target | undefined {
  return [...TARGETS, ...BROKEN].find((target) => target.name === name);
}
