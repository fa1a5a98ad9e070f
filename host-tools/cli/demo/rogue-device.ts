/** A device of the same CA whose key the demo holds itself, so that it can misbehave. */
import { memoryKeyStore } from "../../../sim/node/memory-stores.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { pemChain } from "../../ca/context.js";

export interface RogueDevice {
  id: string;
  keyPem: string;
  chainPem: string;
}

export async function makeRogueDevice(ca: CertificateAuthority, id: string): Promise<RogueDevice> {
  const keyStore = memoryKeyStore();
  keyStore.generate("key-a");
  const reservation = await ca.reserve({ id, role: "sensor" });
  const { chain } = await ca.complete(reservation, keyStore.csr("key-a", id));
  await ca.activate(reservation);
  return { id, keyPem: keyStore.signingKey("key-a").export({ type: "pkcs8", format: "pem" }).toString(), chainPem: pemChain(chain) };
}
