/** Where a fleet's devices have their topics: as their identities say. */
import { utf8Decode, utf8Encode } from "../../sdk/encoding/text.js";
import { HawserError } from "../../sdk/errors.js";
import { readTopics } from "../../sdk/identity/device-topics.js";
import type { FleetIdentity } from "./fleet-plan.js";

const ID = "{id}";

/**
 * The base of all of them, with `{id}` for the device's id.
 * @throws HawserError `INVALID_TOPIC`: devices share a base, so nobody can tell whose a message is, or have several
 */
export function fleetBase(identities: readonly FleetIdentity[]): string {
  const [base = `devices/${ID}`, ...others] = new Set(identities.map(baseOf));
  const odd = base.split("/").includes(ID) ? others[0] : base;
  if (odd === undefined) return base;
  throw new HawserError(
    "INVALID_TOPIC",
    `a fleet cannot have its topics below ${odd}: bases of its devices may differ in their id alone`,
    "Give the fleet a role whose class has a base with {id}, and new identities after a change of the policy (--identities with another file).",
  );
}

/** Of the record that the device goes by: to open a large fleet's key stores would take minutes. */
function baseOf({ id, records }: FleetIdentity): string {
  const { topics } = JSON.parse(utf8Decode(records["identity"] ?? utf8Encode("{}"))) as { topics?: unknown };
  const levels = (readTopics(topics)?.base ?? `devices/${id}`).split("/");
  return levels.map((level) => (level === id ? ID : level)).join("/");
}

/** The topic of one device. */
export function topicOf(base: string, id: string, topic: string): string {
  return `${base.replace(ID, id)}/${topic}`;
}

/** The id in a topic of a device. */
export function idIn(base: string, topic: string): string {
  return topic.split("/")[base.split("/").indexOf(ID)] ?? "";
}
