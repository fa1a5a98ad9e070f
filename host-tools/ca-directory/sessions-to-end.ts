/**
 * Whose live sessions a change of the registry ends: brokers judge a session when it begins and keep it afterwards. Plain functions;
 * nothing here touches a disk.
 */
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import type { EntryChanges, EntryMap } from "./ca-registry.js";
import type { NameSummary, RegistryEntry } from "./registry-entry.js";

/** Sessions of one user name that have to end. */
export interface OwedEnd {
  /** A name, or the PSK identity of one. */
  readonly userName: string;
  /**
   * Whether the name is without rights at the broker until that is proved: `now`, or `later`, when the first attempt failed (it has none to
   * lose now, but may get some back), or `never`: its holder stays the same.
   */
  readonly hold: "now" | "later" | "never";
}

/** The sessions of everything that loses a certificate or a pre-shared key by a change. */
export function lostSessions(before: EntryMap, changes: EntryChanges): OwedEnd[] {
  return [...changes].flatMap(([name, change]) => {
    const was = before.get(name);
    if (was === undefined) return [];
    const is = change?.entry;
    const hold = holdFor(was, is);
    return lostBy(was, is).map((userName) => ({ userName, hold }));
  });
}

/** Adds to what is owed; for a user name that is there already the stricter hold counts. */
export function oweAlso(owed: readonly OwedEnd[], more: readonly OwedEnd[]): OwedEnd[] {
  const strictness = ["never", "later", "now"];
  const all = new Map(owed.map((end) => [end.userName, end]));
  for (const end of more) {
    const known = all.get(end.userName);
    if (known === undefined || strictness.indexOf(end.hold) > strictness.indexOf(known.hold)) all.set(end.userName, end);
  }
  return [...all.values()];
}

/** The sessions of certificates that expired after `sinceMs` and until `nowMs`. */
export function expiredSince(names: Iterable<NameSummary>, sinceMs: number, nowMs: number): OwedEnd[] {
  const expired = [...names].filter(({ certificates }) =>
    certificates.some(({ status, notAfterMs }) => status === "active" && notAfterMs > sinceMs && notAfterMs <= nowMs),
  );
  return expired.map(({ name }) => ({ userName: name, hold: "never" }));
}

function lostBy(was: RegistryEntry, is: RegistryEntry | undefined): string[] {
  const kept = new Set(is?.certificates.filter(({ status }) => status === "active").map(({ serial }) => serial));
  const lostCertificate = was.certificates.some(({ status, serial }) => status === "active" && !kept.has(serial));
  const lostPsk = was.psk !== undefined && was.psk !== is?.psk;
  // A device that was provisioned by an earlier version shows its plain name on the PSK port too.
  if (lostPsk) return [was.name, recoveryIdentity(was.name)];
  return lostCertificate ? [was.name] : [];
}

function holdFor(was: RegistryEntry, is: RegistryEntry | undefined): OwedEnd["hold"] {
  // The authority's key is in its memory only, and it has to come back to serve.
  if (is?.role === "authority") return "never";
  // The device retires what it no longer uses, its pre-shared key included.
  if (was.kind === "device" && was.state === "active" && is?.state === "active") return "never";
  return is?.state === "active" || is?.state === "reserved" ? "now" : "later";
}
