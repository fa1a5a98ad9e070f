/** The registry's names as the policy engine asks about them. */
import { X509Certificate } from "node:crypto";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { currentCertificate } from "../ca-directory/state-transitions.js";
import { directoryOf } from "../policy/policy-model.js";
import type { NameDirectory, Principal } from "../policy/policy-model.js";

/** What a policy asks of one registry entry. */
export function principalOf(entry: RegistryEntry): Principal {
  const { name, kind, role, state, attributes, passwordHash } = entry;
  return {
    name,
    kind,
    role,
    attributes: attributes ?? {},
    active: state === "active",
    recoverable: kind === "device" && (state === "active" || state === "certificate-revoked"),
    ...(passwordHash === undefined ? {} : { passwordHash }),
    // Asked for by tokens alone: not worked out for each of a hundred thousand names.
    get publicKeyPem() {
      return publicKeyPem(entry);
    },
  };
}

export function namesOf(entries: Iterable<RegistryEntry>): NameDirectory {
  return directoryOf([...entries].map(principalOf));
}

function publicKeyPem(entry: RegistryEntry): string | undefined {
  const der = currentCertificate(entry)?.der;
  if (der === undefined) return undefined;
  return new X509Certificate(Buffer.from(der, "base64")).publicKey.export({ type: "spki", format: "pem" }).toString();
}
