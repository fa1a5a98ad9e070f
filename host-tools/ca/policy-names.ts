/** The registry's names as the policy engine asks about them. */
import { X509Certificate } from "node:crypto";
import type { CertificateRecord, NameSummary, RegistryEntry } from "../ca-directory/registry-entry.js";
import { directoryOf } from "../policy/policy-model.js";
import type { NameDirectory, Principal } from "../policy/policy-model.js";

/** What a policy asks of one registry entry. A summary has no key for tokens and no password of a certificate. */
export function principalOf(entry: NameSummary | RegistryEntry): Principal {
  const { name, kind, role, state, attributes, passwordHash } = entry;
  const hashes = recordsOf(entry).flatMap((record) => record.passwordHash ?? []);
  return {
    name,
    kind,
    role,
    attributes: attributes ?? {},
    active: state === "active",
    recoverable: kind === "device" && (state === "active" || state === "certificate-revoked"),
    ...(passwordHash === undefined ? {} : { passwordHash }),
    ...(hashes.length === 0 ? {} : { certificatePasswordHashes: hashes }),
    publicKeyPems: () => publicKeyPems(entry),
  };
}

export function namesOf(entries: Iterable<NameSummary | RegistryEntry>): NameDirectory {
  return directoryOf([...entries].map(principalOf));
}

function recordsOf(entry: NameSummary | RegistryEntry): readonly CertificateRecord[] {
  return "v" in entry ? entry.certificates : [];
}

function publicKeyPems(entry: NameSummary | RegistryEntry): string[] {
  return recordsOf(entry).flatMap(({ status, der }) =>
    status === "active" && der !== undefined
      ? [new X509Certificate(Buffer.from(der, "base64")).publicKey.export({ type: "spki", format: "pem" }).toString()]
      : [],
  );
}
