/** How much of the rates in its policy each name has used. The policy engine keeps no state; whoever runs a broker keeps this. */
import { roleOf } from "../../policy/bound-rule.js";
import type { Channel, Policy, Principal } from "../../policy/policy-model.js";

interface Bucket {
  readonly perSecond: number;
  tokens: number;
  atMs: number;
}

interface Cost {
  readonly key: string;
  readonly perSecond: number;
  readonly amount: number;
}

/** Above it, buckets that are full again are forgotten. */
const MAX_BUCKETS = 100_000;

export class PublishRates {
  readonly #buckets = new Map<string, Bucket>();

  /** Takes what one message costs from the rates of its role and its channel; false, and nothing taken, when one of them is used up. */
  take(policy: Policy, principal: Principal, channel: Channel | undefined, payloadBytes: number, atMs: number): boolean {
    const costs = costsOf(policy, principal, channel, payloadBytes);
    if (costs.length === 0) return true;
    const buckets = costs.map((cost) => ({ cost, bucket: this.#filled(cost, atMs) }));
    // A message larger than a second's bytes passes when the bucket is full, and is paid for afterwards.
    if (buckets.some(({ cost, bucket }) => bucket.tokens < Math.min(cost.amount, capacity(cost.perSecond)))) return false;
    for (const { cost, bucket } of buckets) bucket.tokens -= cost.amount;
    return true;
  }

  #filled({ key, perSecond }: Cost, atMs: number): Bucket {
    const known = this.#buckets.get(key);
    const bucket = known?.perSecond === perSecond ? known : { perSecond, tokens: capacity(perSecond), atMs };
    bucket.tokens = Math.min(capacity(perSecond), bucket.tokens + (Math.max(0, atMs - bucket.atMs) * perSecond) / 1000);
    bucket.atMs = atMs;
    if (known !== bucket) this.#keep(key, bucket, atMs);
    return bucket;
  }

  #keep(key: string, bucket: Bucket, atMs: number): void {
    if (this.#buckets.size >= MAX_BUCKETS) {
      for (const [other, { tokens, perSecond, atMs: usedMs }] of this.#buckets)
        if (tokens + ((atMs - usedMs) * perSecond) / 1000 >= capacity(perSecond)) this.#buckets.delete(other);
    }
    this.#buckets.set(key, bucket);
  }
}

/** A second's worth at once, and one message where the rate is less than one. */
function capacity(perSecond: number): number {
  return Math.max(1, perSecond);
}

function costsOf(policy: Policy, principal: Principal, channel: Channel | undefined, payloadBytes: number): Cost[] {
  const { messagesPerSecond, bytesPerSecond } = roleOf(policy, principal)?.limits ?? {};
  const { name } = principal;
  const costs: Cost[] = [];
  if (messagesPerSecond !== undefined) costs.push({ key: `${name} messages`, perSecond: messagesPerSecond, amount: 1 });
  if (bytesPerSecond !== undefined) costs.push({ key: `${name} bytes`, perSecond: bytesPerSecond, amount: payloadBytes });
  if (channel?.messagesPerSecond !== undefined)
    costs.push({ key: `${name} ${channel.className}.${channel.name}`, perSecond: channel.messagesPerSecond, amount: 1 });
  return costs;
}
