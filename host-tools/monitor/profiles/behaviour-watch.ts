/**
 * Compares what each device does with the limits of the policy and with what is normal for its role. Only clients that the
 * broker let in are looked at, so strangers neither fill the memory nor teach anything.
 */
import type { BehaviourAlert, BehaviourRule } from "../alert.js";
import type { BrokerEvent, Publish } from "../log-events.js";
import { RoleProfile, WINDOW_MS } from "./role-profile.js";
import type { Metric, StoredRole } from "./role-profile.js";

/** Devices that are remembered; past it, the one that connected longest ago is forgotten. */
export const MAX_DEVICES = 150_000;
export const MAX_ROLES = 64;
/** The same of the same device is told again only after this long. */
const REPEAT_MS = 60 * 60_000;
const SILENCE_LOOK_MS = 60_000;
const MOST_TOPIC = 256;
const MANY_SILENT = 10;
/** Alerts of one rule. */
export const MAX_AN_HOUR = 100;

/** What the policy says of a role. */
export interface StaticLimits {
  readonly messagesPerSecond?: number | undefined;
  readonly packetBytes?: number | undefined;
}

export interface Roles {
  /** Undefined for a name that is not known; such clients share a role. */
  roleOf(name: string): string | undefined;
  limitsOf(role: string): StaticLimits;
}

export type StoredRoles = Readonly<Record<string, StoredRole>>;

/** Clients whose role is not known. */
export const UNKNOWN_ROLE = "(unknown)";
/** Clients of roles beyond the number that is remembered. */
const OTHER_ROLES = "(other)";

type Counted = Extract<Metric, "messages" | "connects" | "denied">;

interface Device {
  readonly role: string;
  readonly name: string;
  window: number;
  messages: number;
  connects: number;
  denied: number;
  lastMessageMs: number | undefined;
  isConnected: boolean;
  isSilent: boolean;
  /** When each rule was told last; most devices never need it. */
  toldMs: Map<BehaviourRule, number> | undefined;
}

const RATE_RULES: Readonly<Record<Counted, readonly [rule: BehaviourRule, what: string]>> = {
  messages: ["message-rate", "messages"],
  connects: ["connect-rate", "connections"],
  denied: ["denied-rate", "denied publishes"],
};
const WINDOW_TEXT = `${WINDOW_MS / 60_000} minutes`;

export class BehaviourWatch {
  readonly #roles: Roles;
  readonly #profiles = new Map<string, RoleProfile>();
  readonly #devices = new Map<string, Device>();
  readonly #spent = new Map<BehaviourRule, { readonly hour: number; readonly count: number }>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** @param profiles learned before */
  constructor(roles: Roles, profiles: ReadonlyMap<string, RoleProfile> = new Map()) {
    this.#roles = roles;
    for (const [role, profile] of profiles) this.#profiles.set(role, profile);
  }

  /** How many devices are remembered now. */
  get remembered(): number {
    return this.#devices.size;
  }

  get stored(): StoredRoles {
    return Object.fromEntries([...this.#profiles].map(([role, profile]) => [role, profile.stored]));
  }

  event(event: BrokerEvent): BehaviourAlert[] {
    switch (event.kind) {
      case "connected":
        return event.client === undefined ? [] : this.#connected(event.client, event.user ?? event.client, event.address, event.timeMs);
      case "denied": {
        const device = event.client === undefined ? undefined : this.#devices.get(event.client);
        return device === undefined ? [] : this.#count(device, "denied", event.timeMs);
      }
      case "disconnected":
      case "timed-out":
      case "kicked": {
        const device = event.client === undefined ? undefined : this.#devices.get(event.client);
        if (device !== undefined) device.isConnected = false;
        return [];
      }
      case "broker-started":
      case "broker-stopped":
        for (const device of this.#devices.values()) device.isConnected = false;
        return [];
      default:
        return [];
    }
  }

  published({ client, topic, sizeBytes, timeMs }: Publish): BehaviourAlert[] {
    const device = client === undefined ? undefined : this.#devices.get(client);
    if (device === undefined) return [];
    const profile = this.#profileOf(device.role);
    const alerts = this.#count(device, "messages", timeMs);
    if (device.lastMessageMs !== undefined) profile.add("gap", (timeMs - device.lastMessageMs) / 1000);
    device.lastMessageMs = timeMs;
    device.isSilent = false;
    this.#judgeSize(device, profile, sizeBytes, timeMs, alerts);
    if (topic !== undefined) {
      const shape = shapeOf(topic, device.name, client);
      if (profile.isNewTopic(shape))
        this.#tell(device, "new-topic", timeMs, `published to ${shape}`, `its role's topics of ${days(profile)}`, alerts);
    }
    return alerts;
  }

  /** Looks for connected devices that went silent, now and then. Many of one role at once are one alert. */
  look(nowMs: number): BehaviourAlert[] {
    if (nowMs - this.#lookedMs < SILENCE_LOOK_MS) return [];
    this.#lookedMs = nowMs;
    const silent = new Map<string, Device[]>();
    for (const device of this.#devices.values()) {
      if (!device.isConnected || device.isSilent || device.lastMessageMs === undefined) continue;
      const normal = this.#profiles.get(device.role)?.normal("gap");
      if (normal === undefined || nowMs - device.lastMessageMs <= normal.limit * 1000) continue;
      device.isSilent = true;
      silent.set(device.role, [...(silent.get(device.role) ?? []), device]);
    }
    return [...silent].flatMap(([role, devices]) => this.#silent(role, devices, nowMs));
  }

  #silent(role: string, devices: readonly Device[], nowMs: number): BehaviourAlert[] {
    const { median = 0, limit = 0 } = this.#profileOf(role).normal("gap") ?? {};
    const normal = `a message every ${rounded(median)} s, at least every ${rounded(limit)} s`;
    const alerts: BehaviourAlert[] = [];
    if (devices.length > MANY_SILENT) {
      const observed = `${devices.length} devices are connected and went silent together`;
      this.#push({ kind: "alert", rule: "silent", by: "role", offender: role, role, observed, normal, timeMs: nowMs }, alerts);
    } else
      for (const device of devices) {
        const silentS = (nowMs - (device.lastMessageMs ?? nowMs)) / 1000;
        this.#tell(device, "silent", nowMs, `connected, and no message for ${rounded(silentS)} s`, normal, alerts);
      }
    return alerts;
  }

  #connected(client: string, name: string, address: string | undefined, timeMs: number): BehaviourAlert[] {
    const known = this.#devices.get(client);
    const role = this.#roleOf(name);
    const device = known?.name === name && known.role === role ? known : this.#newDevice(client, name, role, timeMs);
    device.isConnected = true;
    // Those that connected longest ago come first, so that they make room.
    this.#devices.delete(client);
    this.#devices.set(client, device);
    const alerts = this.#count(device, "connects", timeMs);
    if (address === undefined) return alerts;
    const profile = this.#profileOf(role);
    const network = networkOf(address);
    if (profile.isNewNetwork(network))
      this.#tell(device, "new-network", timeMs, `connected from ${network}`, `its role's networks of ${days(profile)}`, alerts);
    return alerts;
  }

  #newDevice(client: string, name: string, role: string, timeMs: number): Device {
    const oldest = this.#devices.size >= MAX_DEVICES ? this.#devices.keys().next().value : undefined;
    if (oldest !== undefined) this.#devices.delete(oldest);
    const device: Device = {
      role,
      name,
      window: Math.floor(timeMs / WINDOW_MS),
      messages: 0,
      connects: 0,
      denied: 0,
      lastMessageMs: undefined,
      isConnected: true,
      isSilent: false,
      toldMs: undefined,
    };
    this.#devices.set(client, device);
    return device;
  }

  /** Counts within the device's window, and judges it as soon as it is too much. */
  #count(device: Device, metric: Counted, timeMs: number): BehaviourAlert[] {
    const profile = this.#profileOf(device.role);
    const alerts = profile.advance(timeMs).map((moved) => driftAlert(device.role, moved, profile, timeMs));
    const window = Math.floor(timeMs / WINDOW_MS);
    if (window > device.window) {
      for (const ended of ["messages", "connects", "denied"] as const) {
        if (device[ended] > 0) profile.add(ended, device[ended]);
        device[ended] = 0;
      }
      device.window = window;
    }
    if (metric !== "denied" && profile.isUnusualHour(timeMs)) {
      const hour = `${new Date(timeMs).toISOString().slice(11, 13)}:00 UTC`;
      this.#tell(device, "unusual-hour", timeMs, `active at ${hour}`, `its role was never active then in ${days(profile)}`, alerts);
    }
    device[metric] += 1;
    const count = device[metric];
    const [rule, what] = RATE_RULES[metric];
    const observed = `${count} ${what} within ${WINDOW_TEXT}`;
    const perSecond = metric === "messages" ? this.#roles.limitsOf(device.role).messagesPerSecond : undefined;
    const normal = profile.normal(metric);
    if (perSecond !== undefined && count > (perSecond * WINDOW_MS) / 1000)
      this.#tell(device, rule, timeMs, observed, `the policy's ${perSecond} a second`, alerts);
    else if (normal !== undefined && count > normal.limit) {
      const text = `${rounded(normal.median)}, at most ${rounded(normal.limit)} (${days(profile)})`;
      this.#tell(device, rule, timeMs, observed, text, alerts);
    }
    return alerts;
  }

  #judgeSize(device: Device, profile: RoleProfile, sizeBytes: number, timeMs: number, alerts: BehaviourAlert[]): void {
    const { packetBytes } = this.#roles.limitsOf(device.role);
    const normal = profile.normal("size");
    const observed = `a message of ${sizeBytes} bytes`;
    if (packetBytes !== undefined && sizeBytes > packetBytes)
      this.#tell(device, "message-size", timeMs, observed, `the policy's ${packetBytes} bytes`, alerts);
    else if (normal !== undefined && sizeBytes > normal.limit) {
      const text = `${rounded(normal.median)} bytes, at most ${rounded(normal.limit)} (${days(profile)})`;
      this.#tell(device, "message-size", timeMs, observed, text, alerts);
    }
    profile.add("size", sizeBytes);
  }

  #tell(device: Device, rule: BehaviourRule, timeMs: number, observed: string, normal: string, alerts: BehaviourAlert[]): void {
    const toldMs = device.toldMs?.get(rule);
    if (toldMs !== undefined && timeMs - toldMs < REPEAT_MS) return;
    device.toldMs = (device.toldMs ?? new Map<BehaviourRule, number>()).set(rule, timeMs);
    this.#push({ kind: "alert", rule, by: "client", offender: device.name, role: device.role, observed, normal, timeMs }, alerts);
  }

  /** Something that befalls all of a fleet must not bury what befalls one: each rule has its share of an hour. */
  #push(alert: BehaviourAlert, alerts: BehaviourAlert[]): void {
    const hour = Math.floor(alert.timeMs / REPEAT_MS);
    const spent = this.#spent.get(alert.rule);
    const count = spent?.hour === hour ? spent.count + 1 : 1;
    this.#spent.set(alert.rule, { hour, count });
    if (count < MAX_AN_HOUR) alerts.push(alert);
    else if (count === MAX_AN_HOUR) alerts.push({ ...alert, observed: `${alert.observed}; further alerts of this hour are left out` });
  }

  #roleOf(name: string): string {
    const role = this.#roles.roleOf(name) ?? UNKNOWN_ROLE;
    return this.#profiles.has(role) || this.#profiles.size < MAX_ROLES ? role : OTHER_ROLES;
  }

  #profileOf(role: string): RoleProfile {
    const known = this.#profiles.get(role);
    if (known !== undefined) return known;
    const profile = new RoleProfile();
    this.#profiles.set(role, profile);
    return profile;
  }
}

function driftAlert(role: string, metric: Metric, profile: RoleProfile, timeMs: number): BehaviourAlert {
  const limit = rounded(profile.normal(metric)?.limit ?? 0);
  const observed = `what counts as normal of ${metric} has risen to ${limit}`;
  const normal = "a third of it or less, when the role was learned first";
  return { kind: "alert", rule: "role-drift", by: "role", offender: role, role, observed, normal, timeMs };
}

/** A topic with the device's own name left out, so that a role's devices share it. */
function shapeOf(topic: string, name: string, client: string | undefined): string {
  return topic
    .slice(0, MOST_TOPIC)
    .split("/")
    .map((level) => (level === name || level === client ? "{id}" : level))
    .join("/");
}

/** IPv4 by /16, IPv6 by /32: what belongs to one operator, mostly. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+)\.\d+\.\d+$/i.exec(address)?.[1] ?? /^(\d+\.\d+)\.\d+\.\d+$/.exec(address)?.[1];
  if (mapped !== undefined) return `${mapped}.0.0/16`;
  const [first = "0", second = "0"] = address.split("::")[0]?.split(":") ?? [];
  return `${first || "0"}:${second}::/32`;
}

function days({ daysSeen }: RoleProfile): string {
  return `${daysSeen} days`;
}

function rounded(value: number): number {
  return value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}
