/**
 * Who may publish and read what: the one policy, as plain data. The embedded broker asks it question by question, the mosquitto compiler
 * writes it out. See docs/protocol.md, "Topics of a device" and "Roles and ACL".
 */
import { HawserError } from "../../sdk/errors.js";
import { covers, isTopicFilter, isTopicName, matchesTopic, unshared } from "./topic-filter.js";

/** `full`: on the mTLS port. `recovery`: on the PSK port, where a device may do nothing but get a new certificate. */
export type Scope = "full" | "recovery";

export interface Grant {
  readonly access: "publish" | "subscribe";
  /** A topic filter of MQTT. */
  readonly filter: string;
}

const publish = (filter: string): Grant => ({ access: "publish", filter });
const subscribe = (filter: string): Grant => ({ access: "subscribe", filter });

const CLIENT_GRANTS = {
  backend: [subscribe("devices/+/up/#"), publish("devices/+/down/#")],
  operator: [subscribe("devices/#"), publish("devices/+/down/#")],
  monitor: [subscribe("devices/+/up/#"), subscribe("$SYS/#")],
  // It reads on the last topic what it sent itself, and so knows that it has heard everything from before.
  authority: [
    subscribe("devices/+/identity/request"),
    publish("devices/+/identity/response"),
    publish("devices/hawser-authority/identity/request"),
  ],
} as const satisfies Record<string, readonly Grant[]>;

/** Roles of clients that are no device. */
export type ClientRole = keyof typeof CLIENT_GRANTS;

export const CLIENT_ROLES: readonly ClientRole[] = Object.keys(CLIENT_GRANTS) as ClientRole[];

const VALID_ROLE = /^[a-z0-9][a-z0-9._-]{0,31}$/;

export function isClientRole(role: string): role is ClientRole {
  return Object.hasOwn(CLIENT_GRANTS, role);
}

/**
 * Returns `role` when it may be given to a device: any word but the roles of clients, which would give it their rights.
 * @throws HawserError `INVALID_ROLE`
 */
export function checkDeviceRole(role: string): string {
  if (isClientRole(role)) {
    throw new HawserError(
      "INVALID_ROLE",
      `the role ${role} belongs to clients that are not devices`,
      "Choose another role for the device, or use `hawser issue` for a client.",
    );
  }
  if (!VALID_ROLE.test(role)) {
    throw new HawserError(
      "INVALID_ROLE",
      `invalid role ${JSON.stringify(role)}`,
      "Use up to 32 lower-case letters, digits, '.', '_' and '-', starting with a letter or digit.",
    );
  }
  return role;
}

/**
 * Returns `role` when it is one a client can have.
 * @throws HawserError `INVALID_ROLE`
 */
export function checkClientRole(role: string): ClientRole {
  if (!isClientRole(role)) {
    throw new HawserError("INVALID_ROLE", `unknown client role ${JSON.stringify(role)}`, `Choose one of ${CLIENT_ROLES.join(", ")}.`);
  }
  return role;
}

/** All that `name` may do in `scope`. A client has nothing in the recovery scope: it has no pre-shared key. */
export function grantsOf(name: string, role: string, scope: Scope): readonly Grant[] {
  if (isClientRole(role)) return scope === "full" ? CLIENT_GRANTS[role] : [];
  const own = `devices/${name}`;
  const identity = [publish(`${own}/identity/request`), subscribe(`${own}/identity/response`)];
  return scope === "recovery" ? identity : [publish(`${own}/up/#`), subscribe(`${own}/down/#`), ...identity];
}

/** True when `name` may publish to `topic`; false for anything that is no topic name. */
export function mayPublish(name: string, role: string, scope: Scope, topic: string): boolean {
  if (!isTopicName(topic)) return false;
  return grantsOf(name, role, scope).some((grant) => grant.access === "publish" && matchesTopic(grant.filter, topic));
}

/** True when `name` may subscribe to `filter` (shared or not): some grant has to cover all that the filter matches. */
export function maySubscribe(name: string, role: string, scope: Scope, filter: string): boolean {
  const wanted = unshared(filter);
  if (wanted === undefined || !isTopicFilter(wanted)) return false;
  return grantsOf(name, role, scope).some((grant) => grant.access === "subscribe" && covers(grant.filter, wanted));
}
