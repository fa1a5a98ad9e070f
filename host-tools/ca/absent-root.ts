/** A root whose key was carried away. */
import { HawserError } from "../../sdk/errors.js";
import { Signer } from "../pki/signer.js";

/** In the key file of such a root. */
export const OFFLINE = "offline:";

export class AbsentRoot extends Signer {
  constructor(private readonly spki: Uint8Array) {
    super();
  }

  publicKey(): Promise<Uint8Array> {
    return Promise.resolve(this.spki);
  }

  sign(): Promise<Uint8Array> {
    throw new HawserError("ROOT_ABSENT", "the root of this CA is offline, and this needs its signature", "Run: hawser ca request, take the request to the root, and import the answer with: hawser ca answer");
  }

  describe(): string {
    return "offline root";
  }

  close(): void {
    // There is nothing to give up.
  }
}
