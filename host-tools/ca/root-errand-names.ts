/** What a CA asks an offline root for; apart from the errands themselves, so that `--help` loads no certificates. */

/** `rollover`: another issuing CA; `retire`: a list that names the one before; `crl`: a fresh revocation list; `root`: another root. */
export const ERRANDS = ["rollover", "retire", "crl", "root"] as const;
export type Errand = (typeof ERRANDS)[number];
