/**
 * Which of the two sizes of pointer the tests can try here; where 32 bits cannot run, `test/support/say-what-was-not-run.ts` says so at the
 * end.
 */
import { errorMessage } from "../../../sdk/errors.js";
import type { Bits } from "../../../sim/xs/host-build.js";
import { runner32 } from "../../../sim/xs/thirty-two-bits.js";

/** Why nothing of 32 bits can run here; undefined when it can. */
export const no32Bits: string | undefined = await runner32().then(() => undefined, errorMessage);

export const BITS: readonly Bits[] = no32Bits === undefined ? [64, 32] : [64];
