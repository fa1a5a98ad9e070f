/**
 * What people do who wish a fleet ill: one on the way without any key, one who may publish what he likes. A thief of keys is `thief.ts`.
 */
import { base64Decode, base64Encode, utf8Decode, utf8Encode } from "../../../sdk/encoding/text.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import type { Message } from "../broker/message.js";
import { sameBytes } from "../network/virtual-tls.js";
import type { Roots } from "../pki/roots.js";
import { buildCertificate, publicKeyOf, readRequest } from "../pki/world-certificates.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { HOURS, MINUTES, type FaultKind, type FaultSite } from "./fault-kind.js";
import { Insider } from "./insider.js";
import { PskThief } from "./psk-thief.js";
import { Thief } from "./thief.js";

/** Alerts that speak of a certificate. */
const ALERTS = [42, 44, 45, 46, 48, 116] as const;
const YEAR_MS = 365 * 86_400_000;
const IN_2049_MS = Date.UTC(2049, 0, 1);

export const ATTACK_FAULTS: readonly FaultKind[] = [
  {
    name: "man-in-the-middle",
    scope: "device",
    changes: "impostor",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.forged = random.chance(0.6) ? random.pick(ALERTS) : "reset";
      // He answers for the time servers as well: the certificate looks long expired, and the clock says that it can be trusted.
      const forgesTime = random.chance(0.5) && device.clock !== undefined;
      if (forgesTime) {
        device.clock?.synchronise();
        device.clock?.jump(YEAR_MS);
      }
      device.path.resetLinks();
      return () => {
        device.path.forged = undefined;
        if (forgesTime) device.clock?.synchronise();
      };
    },
  },
  {
    // An operator's credentials, and a policy with a hole: he reads every request and answers before the authority does.
    name: "answers-forged",
    scope: "device",
    lasts: HOURS,
    begin: (site) => {
      const tap = {
        filter: `+/${site.device.id}/identity/request`,
        take: (_from: string, message: Message) => answer(site, message),
      };
      site.broker.taps.unshift(tap);
      site.device.device?.renew();
      return () => void site.broker.taps.splice(site.broker.taps.indexOf(tap), 1);
    },
  },
  {
    name: "key-stolen",
    scope: "device",
    lasts: HOURS,
    fits: (site) => site.device.traits.recoverable && loot(site) !== undefined,
    begin: (site) => {
      const stolen = loot(site);
      if (!stolen) return undefined;
      const thief = new Thief(site, stolen, site.random.chance(0.3));
      thief.start();
      return () => thief.noticed();
    },
  },
  {
    name: "insider",
    scope: "device",
    lasts: HOURS,
    begin: (site) => {
      const insider = new Insider(site, site.random.chance(0.5));
      insider.start();
      return () => insider.noticed();
    },
  },
  {
    name: "psk-stolen",
    scope: "device",
    lasts: HOURS,
    // He comes while all is well, so that it is his doing what goes wrong.
    fits: ({ device, access }) => device.traits.recoverable && device.recovery.calm && access.psks.has(device.id),
    begin: (site) => {
      const psk = site.access.psks.get(site.device.id);
      if (!psk) return undefined;
      const thief = new PskThief(site, psk);
      thief.start();
      if (site.random.chance(0.5)) site.device.device?.renew();
      return () => thief.leave();
    },
  },
];

/** A key that lies in the device, and the certificate that is good for it. */
function loot({ authority, device }: FaultSite): { secret: string; chain: Uint8Array[] } | undefined {
  for (const slot of ["key-a", "key-b"]) {
    const key = device.keys.peek(slot);
    if (key?.kind !== "pair") continue;
    const certificate = authority.current(device.id).find(({ der }) => sameBytes(readCertificate(der).publicKey, publicKeyOf(key.secret)));
    if (certificate) return { secret: key.secret, chain: authority.chainOf(certificate) };
  }
  return undefined;
}

function answer({ authority, broker, device, random }: FaultSite, { topic, payload }: Message): void {
  const { requestId, csr } = JSON.parse(utf8Decode(payload)) as { requestId?: string; csr?: string };
  if (requestId === undefined || csr === undefined) return;
  const forged = random.pick(["evil chain", "own key", "put off", "garbage"] as const);
  const fields =
    forged === "put off"
      ? { error: { code: "TRY_LATER", message: "not now", retryAfterSeconds: 86_400 } }
      : {
          chain: [
            base64Encode(
              evilCertificate(device.id, forged === "own key" ? publicKeyOf("the attacker") : readRequest(base64Decode(csr))?.publicKey),
            ),
          ],
          ...forgedAnchors(authority.roots, forged === "own key"),
        };
  const text = forged === "garbage" ? "{}" : JSON.stringify({ v: 1, requestId, ...fields });
  broker.publish(topic.replace(/request$/, "response"), utf8Encode(text), 1);
}

/** A root of the attacker's, by its name the CA's own, which vouches for itself or is vouched for by nobody. */
function forgedAnchors(roots: Roots, isLinked: boolean): { anchors: string[]; links: string[] } {
  const [commonName, publicKey] = ["virtual root", publicKeyOf("the attacker's root")];
  const validity = { notBeforeMs: WORLD_BEGINS_MS, notAfterMs: IN_2049_MS };
  const der = buildCertificate({ commonName, issuer: commonName, serial: Uint8Array.of(0x66), ...validity, publicKey });
  roots.signed(der, publicKey);
  const root = base64Encode(der);
  return { anchors: [root], links: isLinked ? [root] : [] };
}

/** Of a CA that nobody trusts, and from the far future. */
function evilCertificate(id: string, publicKey: Uint8Array | undefined): Uint8Array {
  return buildCertificate({
    commonName: id,
    issuer: "evil",
    serial: Uint8Array.of(0x66, 0x66),
    notBeforeMs: IN_2049_MS,
    notAfterMs: IN_2049_MS + YEAR_MS,
    publicKey: publicKey ?? publicKeyOf("nobody"),
  });
}
