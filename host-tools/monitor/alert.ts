/** What the monitor raises alerts about, and what an alert says. */

/** Somebody keeps failing: see `offender-watch.ts`. */
export const SCORED_RULES = ["failed-logins", "denied-publishes", "clone-suspected"] as const;
export type ScoredRule = (typeof SCORED_RULES)[number];

/** `slow-connect`: see `half-open-watch.ts`. */
export const OFFENDER_RULES = [...SCORED_RULES, "slow-connect"] as const;
export type OffenderRule = (typeof OFFENDER_RULES)[number];

/** Somebody who was let in behaves as its role never did: see `profiles/behaviour-watch.ts`. */
export const BEHAVIOUR_RULES = [
  "message-rate",
  "message-size",
  "connect-rate",
  "denied-rate",
  "new-topic",
  "new-network",
  "unusual-hour",
  "silent",
  "role-drift",
] as const;
export type BehaviourRule = (typeof BEHAVIOUR_RULES)[number];

export type AlertRule = OffenderRule | BehaviourRule;
export const ALERT_RULES: readonly AlertRule[] = [...OFFENDER_RULES, ...BEHAVIOUR_RULES];

export interface OffenderAlert {
  readonly kind: "alert";
  readonly rule: OffenderRule;
  /** How the offender is known. Nothing proves a `claimedClient`; an `address` may be shared by many devices. */
  readonly by: "address" | "client" | "claimedClient";
  readonly offender: string;
  /** About how many events in the last minutes; of `slow-connect`, at least how many connections are held now. */
  readonly count: number;
  readonly timeMs: number;
}

export interface BehaviourAlert {
  readonly kind: "alert";
  readonly rule: BehaviourRule;
  readonly by: "client" | "role";
  readonly offender: string;
  readonly role: string;
  /** What it did, in words. */
  readonly observed: string;
  /** What is normal for its role, in words. */
  readonly normal: string;
  readonly timeMs: number;
}

export type Alert = OffenderAlert | BehaviourAlert;

/** Rules whose alerts name a client that was let in and did something that quarantine ends. */
export const QUARANTINE_RULES = [
  "denied-publishes",
  "message-rate",
  "message-size",
  "connect-rate",
  "denied-rate",
  "new-topic",
  "new-network",
  "unusual-hour",
] as const satisfies readonly AlertRule[];
