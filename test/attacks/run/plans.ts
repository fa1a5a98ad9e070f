/** What the processes of `npm run attacks` tell each other, one JSON document on standard input. */

export interface Shown {
  readonly id: string;
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

export interface AttackPlan {
  readonly attack: Attack;
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** Where the attacker connects from. */
  readonly from: string;
  /** Whom it pretends to be, or whose topics it wants. */
  readonly target: string;
  /** What it holds: its own key, a copied one, or one of another CA. */
  readonly shown: Shown;
}

export interface DevicesPlan {
  readonly mtlsPort: number;
  readonly devices: readonly Shown[];
  /** Connects again whenever it is thrown out; its messages are not measured. */
  readonly victim: Shown;
}

export const ATTACKS = ["brute-force", "foreign-topics", "flood", "takeover", "slow-connect", "other-ca"] as const;
export type Attack = (typeof ATTACKS)[number];

/** Loopback addresses, so that whoever looks sees who is who. */
export const HONEST_NETWORK = "127.0.1.";
export const ATTACKER_NETWORK = "127.0.66.";

export async function planFromStdin<T>(): Promise<T> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return JSON.parse(text) as T;
}
