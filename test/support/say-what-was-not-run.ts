/** Vitest's global setup: one line after all the tests for each part of this machine that they had to do without. */
import { no32Bits } from "./xs/pointer-sizes.js";

export default function setup(): () => void {
  return () => {
    if (no32Bits !== undefined) process.stdout.write(`Not run: everything at 32 bits, because ${no32Bits}\n`);
  };
}
