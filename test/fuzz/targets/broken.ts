/**
 * Readers with a defect each, all behind a small door: what fuzzes them has to find it, or it finds nothing elsewhere either. Not part of a
 * default run.
 */
import { byteBend, words } from "../bend.js";
import type { Subject, Target } from "../fuzz-target.js";
import { certificate } from "./certificate-target.js";

/** The certificate reader, with something wrong for one in some hundred inputs. */
function broken(name: string, isDoor: (input: Uint8Array) => boolean, defect: () => unknown): Target {
  return {
    name,
    inputs: 0,
    maximumBytes: 2_048,
    bend: byteBend(words([0x30, 0x82])),
    async open(): Promise<Subject> {
      const sound = await certificate.open();
      return (input) => {
        if (isDoor(input)) defect();
        return sound(input);
      };
    },
  };
}

const kept: Uint8Array[] = [];
const bySize = (input: Uint8Array): boolean => input.length % 97 === 13;

export const BROKEN: readonly Target[] = [
  broken("broken-throws", bySize, () => (undefined as unknown as string).length),
  broken("broken-rejects", bySize, () => void Promise.reject(new TypeError("nobody looks at this"))),
  broken("broken-throws-later", bySize, () => setImmediate(() => (undefined as unknown as string).length)),
  broken("broken-hangs", bySize, () => {
    for (;;);
  }),
  broken(
    "broken-keeps",
    () => true,
    () => kept.push(new Uint8Array(4_096)),
  ),
  broken("broken-explodes", bySize, () => {
    for (const heap: unknown[][] = []; ;) heap.push(new Array(10_000).fill(0.5));
  }),
];
