/** Makes a failing input smaller while it fails the same way, so that a person can read it. */

const MOST_TRIES = 400;

/** @param fails whether a candidate still does */
export async function shrink(input: Uint8Array, fails: (candidate: Uint8Array) => Promise<boolean>): Promise<Uint8Array> {
  let smallest = input;
  let tries = 0;
  for (let piece = Math.ceil(input.length / 2); piece >= 1; piece = piece === 1 ? 0 : Math.ceil(piece / 2)) {
    for (let at = 0; at + piece <= smallest.length && tries < MOST_TRIES; tries++) {
      const candidate = without(smallest, at, piece);
      if (await fails(candidate)) smallest = candidate;
      else at += piece;
    }
  }
  return smallest;
}

function without(bytes: Uint8Array, at: number, sizeBytes: number): Uint8Array {
  const rest = new Uint8Array(bytes.length - sizeBytes);
  rest.set(bytes.subarray(0, at));
  rest.set(bytes.subarray(at + sizeBytes), at);
  return rest;
}
