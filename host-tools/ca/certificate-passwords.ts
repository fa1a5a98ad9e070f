/** Passwords of devices beside their certificates: each certificate's own, made of the pre-shared key as the device makes it. */
import { createHmac } from "node:crypto";
import { passwordInput } from "../../sdk/identity/certificate-password.js";
import type { NameSummary, RegistryEntry } from "../ca-directory/registry-entry.js";
import { roleOf } from "../policy/bound-rule.js";
import { hashPassword } from "../policy/password.js";
import type { Policy } from "../policy/policy-model.js";
import type { CaKeys } from "./context.js";
import { principalOf } from "./policy-names.js";
import { provisionedPsk } from "./sealed-psk.js";

/**
 * The entry with the hashes of its certificates' passwords, where the policy asks this device for one beside its certificate.
 * @throws HawserError `CA_CORRUPT`
 */
export function withCertificatePasswords(keys: CaKeys, policy: Policy, entry: RegistryEntry): RegistryEntry {
  const isMissing = entry.certificates.some(({ status, passwordHash }) => status === "active" && passwordHash === undefined);
  if (!isMissing || !asksForPassword(policy, entry)) return entry;
  const psk = provisionedPsk(keys, entry);
  if (psk === undefined) return entry;
  try {
    const certificates = entry.certificates.map((record) =>
      record.status === "active" && record.passwordHash === undefined
        ? { ...record, passwordHash: hashPassword(createHmac("sha256", psk).update(passwordInput(record.serial)).digest("base64url")) }
        : record,
    );
    return { ...entry, certificates };
  } finally {
    psk.fill(0);
  }
}

/** Whether the policy asks this device for a password beside its certificate. */
export function asksForPassword(policy: Policy, entry: NameSummary | RegistryEntry): boolean {
  if (entry.kind !== "device" || entry.psk === undefined) return false;
  const role = roleOf(policy, principalOf(entry));
  if (role === undefined) return false;
  return [...policy.listeners.values()].some(({ name, scope, requires }) => {
    const factors = [...requires, ...(role.requires.get(name) ?? [])];
    return scope === "full" && factors.includes("certificate") && factors.includes("password");
  });
}
