/** Identities of a fleet on many machines: each machine makes its devices' keys and asks, the CA here signs, and no secret crosses NATS. */
import { utf8Encode } from "../../../sdk/encoding/text.js";
import { HawserError } from "../../../sdk/errors.js";
import type { FleetIdentity, IssuedDevice } from "../../../sim/fleet/fleet-plan.js";
import type { CrewMember } from "../../../sim/fleet/fleet-run.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";

/** One change of the CA names this many: its line of the audit trail has to stay short. */
const AT_ONCE = 200;

/**
 * Has all devices of the crew provisioned. Without pre-shared keys: those would be secrets on the way.
 * @returns what this side knows of them: who they are and where their topics are
 * @throws HawserError `FLEET_WORKER_FAILED`; as `provisionBatch`
 */
export async function provisionCrew(
  ca: CertificateAuthority,
  members: readonly CrewMember[],
  role: string,
  onIssued: (ids: readonly string[]) => void,
): Promise<FleetIdentity[]> {
  const known: FleetIdentity[] = [];
  const asked = await Promise.all(members.map(({ link, ids }) => link.ask({ kind: "make-keys", ids }, "requests")));
  for (const [at, { requests }] of asked.entries()) {
    const issued: IssuedDevice[] = [];
    for (let from = 0; from < requests.length; from += AT_ONCE) {
      const devices = requests.slice(from, from + AT_ONCE);
      for (const { id, chain, trustAnchors, topics, psk } of await ca.provisionBatch({ role, devices })) {
        psk.fill(0);
        issued.push({ id, role, chain, trustAnchors, ...(topics === undefined ? {} : { topics }) });
        known.push({ id, records: { identity: utf8Encode(JSON.stringify({ topics })) }, keys: {} });
      }
      onIssued(devices.map(({ id }) => id));
    }
    const member = members[at];
    if (member === undefined) throw new HawserError("FLEET_WORKER_FAILED", "an answer of nobody", "Report this.");
    await member.link.ask({ kind: "install", devices: issued }, "installed");
  }
  return known;
}
