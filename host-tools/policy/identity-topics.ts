/**
 * Where devices and the authority speak of certificates: `BASE/request` and `BASE/response`. A policy moves them by the recovery channels
 * of its classes; a device is told by its option `identityBase`. A base holds the device's id and no attribute: what changes while a device
 * is away must not change where it asks.
 */
import { checkId } from "../../sdk/identity/device-id.js";
import { roleOf } from "./bound-rule.js";
import type { Channel, Policy, Principal } from "./policy-model.js";
import { templateText } from "./topic-template.js";

/** Where a device of Hawser asks unless it is told another base. */
export const DEFAULT_IDENTITY_BASE = "devices/{id}/identity";

const LAST_LEVEL = { up: "request", down: "response" } as const;

/** The base of one of the two topics; undefined for a channel that devices of Hawser cannot use for it. */
export function identityBaseOf({ recovery, direction, template }: Channel): string | undefined {
  const base = template.slice(0, -1);
  const last = template.at(-1);
  if (!recovery || last?.kind !== "literal" || last.value !== LAST_LEVEL[direction]) return undefined;
  const ids = base.filter(({ kind }) => kind === "placeholder");
  const isUsable = base.every(
    (level, index) =>
      (level.kind === "placeholder" && level.name === "id") || (level.kind === "literal" && (level.value !== "" || index === 0)),
  );
  return isUsable && ids.length === 1 ? templateText(base) : undefined;
}

/** The bases of which both topics are among these channels. */
function completeBases(channels: readonly Channel[]): string[] {
  const answered = new Set(channels.filter(({ direction }) => direction === "down").map(identityBaseOf));
  return channels.flatMap((channel) => {
    const base = channel.direction === "up" ? identityBaseOf(channel) : undefined;
    return base !== undefined && answered.has(base) ? [base] : [];
  });
}

/** Everywhere the authority of a policy is asked. */
export function identityBases(policy: Policy): string[] {
  return [...new Set([...policy.classes.values()].flatMap(({ channels }) => completeBases([...channels.values()])))];
}

/** Where one device may ask. */
export function identityBasesFor(policy: Policy, principal: Principal): string[] {
  const rules = roleOf(policy, principal)?.rules ?? [];
  return completeBases(rules.flatMap(({ own, effect, channel }) => (own && effect === "allow" && channel !== undefined ? [channel] : [])));
}

/** The filter under which the authority hears everybody who asks below a base. */
export function requestFilter(base: string): string {
  return requestTopic(base, "+");
}

export function requestTopic(base: string, id: string): string {
  return `${base.replace("{id}", id)}/request`;
}

export function responseTopic(base: string, id: string): string {
  return `${base.replace("{id}", id)}/response`;
}

/** Who asks: the broker lets only the device itself publish there. */
export interface AskingDevice {
  readonly id: string;
  readonly base: string;
}

/** The device that asks on this topic; undefined for any other topic, and where the name cannot be a device's. */
export function askingDevice(topic: string, bases: readonly string[]): AskingDevice | undefined {
  const levels = topic.split("/");
  for (const base of bases) {
    const wanted = [...base.split("/"), LAST_LEVEL.up];
    if (wanted.length !== levels.length || !wanted.every((level, index) => level === "{id}" || level === levels[index])) continue;
    try {
      return { id: checkId(levels[wanted.indexOf("{id}")] ?? ""), base };
    } catch {
      continue;
    }
  }
  return undefined;
}
