/** What may go wrong with a simulated board in its jig, drawn from a seed. */

export const BOARD_FAULTS = ["pull", "reset", "noise", "slow", "loss", "late", "wrong-firmware", "clone"] as const;

/**
 * - `pull`: the cable is pulled in the middle, and plugged in again.
 * - `reset`: the board starts again in the middle.
 * - `noise`: stray bytes on the line.
 * - `slow`: 9,600 bits a second.
 * - `loss`: frames are lost.
 * - `late`: the board boots slowly.
 * - `wrong-firmware`: another firmware than the order's; must be refused.
 * - `clone`: the flash of a board before, in a board with another MAC address; must be refused.
 */
export type BoardFault = (typeof BOARD_FAULTS)[number];

/** Boards with these must not pass. */
export const MUST_FAIL: ReadonlySet<BoardFault> = new Set(["wrong-firmware", "clone"]);

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function seededNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Half of the boards have a fault, if any are possible. */
export function drawFault(faults: readonly BoardFault[], number: () => number): BoardFault | undefined {
  const isFaulty = number() < 0.5;
  const at = Math.floor(number() * faults.length);
  return isFaulty ? faults[at] : undefined;
}
