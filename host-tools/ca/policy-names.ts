/** The registry's names as the policy engine asks about them. */
import type { NameDirectory, Principal } from "../policy/policy-model.js";
import { directoryOf } from "../policy/policy-model.js";
import type { ListedName } from "../ca-directory/registry.js";

/** What a policy asks of one registry entry. */
export function principalOf({ name, kind, role, state, attributes }: Pick<ListedName, "name" | "kind" | "role" | "state" | "attributes">): Principal {
  return { name, kind, role, attributes: attributes ?? {}, active: state === "active", recoverable: kind === "device" && (state === "active" || state === "certificate-revoked") };
}

export function namesOf(entries: Iterable<ListedName>): NameDirectory {
  return directoryOf([...entries].map(principalOf));
}
