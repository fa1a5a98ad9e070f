/** A root whose key is not here: carried away, or with another PKI. */
import { HawserError } from "../../sdk/errors.js";
import { Signer } from "../pki/signer.js";

/** In the key file of such a root. */
export const OFFLINE = "offline:";
export const PARENT = "parent:";

const ADVICE = {
  [OFFLINE]: [
    "the root of this CA is offline",
    "Run: hawser ca request, take the request to the root, and import the answer with: hawser ca answer",
  ],
  [PARENT]: [
    "the root of this CA is another PKI",
    "Run: hawser ca request, have the parent sign it, and import what comes back with: hawser ca answer",
  ],
} as const;

export class AbsentRoot extends Signer {
  constructor(
    private readonly spki: Uint8Array,
    private readonly where: typeof OFFLINE | typeof PARENT,
  ) {
    super();
  }

  publicKey(): Promise<Uint8Array> {
    return Promise.resolve(this.spki);
  }

  sign(): Promise<Uint8Array> {
    const [what, next] = ADVICE[this.where];
    throw new HawserError("ROOT_ABSENT", `${what}, and this needs its signature`, next);
  }

  describe(): string {
    return this.where === OFFLINE ? "offline root" : "parent PKI";
  }

  close(): void {
    // There is nothing to give up.
  }
}
