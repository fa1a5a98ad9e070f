/**
 * AWS IoT Fleet Provisioning as the way by which a device gets its certificates: the first one by a claim certificate, and each that
 * replaces one over the device's own connection.
 */
import { X509Certificate } from "node:crypto";
import type { Device } from "../../../sdk/device/device.js";
import { HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import type { Enrolment } from "../../../sdk/identity/enrolment-port.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import type { RequestingClient } from "../../../sdk/mqtt/requester.js";
import type { KeyStore, Storage } from "../../../sdk/platform.js";
import { firstRequest } from "../first-key.js";
import { hostPort } from "../host-port.js";
import { MqttClient } from "../url-client.js";
import { FleetExchange, type FleetTemplate } from "./fleet-exchange.js";

export interface FleetEnrolmentOptions extends FleetTemplate {
  /** The device that asks, over its own connection; called when it needs a certificate. */
  device: () => Device;
}

/** Less than a device waits for, so that it hears why no certificate came, milliseconds. */
const ANSWER_WITHIN_MS = 25_000;
const PROVISION_WITHIN_MS = 60_000;

/**
 * Renews a `Device`'s certificate by Fleet Provisioning: `enrolment: fleetEnrolment({ template, device: () => device })`.
 *
 * AWS does not publish the CAs that sign such certificates. So a new one is judged by where it comes from: it has to be the very one that
 * came over the device's own connection, to a broker that the trust anchors vouch for, for the key that was asked for, and in date. As
 * ever, the broker has to accept it before the old one is given up.
 * @throws HawserError `BAD_OPTION`
 */
export function fleetEnrolment({ device, ...template }: FleetEnrolmentOptions): Enrolment {
  const exchange = new FleetExchange(template);
  let issued: Uint8Array | undefined;
  return {
    async request(csr) {
      const leaf = await exchange.run(overDevice(device()), csr, performance.now() + ANSWER_WITHIN_MS);
      issued = leaf;
      return { chain: [leaf] };
    },
    chains: {
      leadsTo: ([leaf, ...others]) =>
        leaf !== undefined && others.length === 0 && issued !== undefined && Buffer.compare(leaf, issued) === 0,
    },
  };
}

function overDevice(device: Device): RequestingClient {
  return {
    publish: (topic, payload, options) => device.publish({ absolute: topic }, payload, options),
    subscribe: (filter, options) => device.subscribe({ absolute: filter }, options),
  };
}

export interface FleetProvisioning extends FleetTemplate {
  /** The account's `-ats` endpoint. Default port 8883. */
  broker: { host: string; port?: number };
  /** The claim certificate that many devices share, and its key, PEM. */
  claim: { cert: string; key: string };
  /** The CAs, DER, by which the endpoint is judged, now and by the device later: Amazon Root CA 1 and 3. */
  trustAnchors: readonly Uint8Array[];
  /** The device's id: 1 to 64 letters, digits, `.`, `_`, `-`. Its certificate has it as common name. */
  id: string;
  /** Client id of the claim's connection, as its policy wants it. Default `id`. */
  clientId?: string;
  /** Default `sensor`. */
  role?: string;
  /** Where the identity goes: a `Vault`. A key that an earlier try has left there is used again. */
  vault: { keyStore: KeyStore; storage: Storage };
  /** How long AWS may take, milliseconds; default 60000. */
  timeoutMs?: number;
}

/**
 * Gives a device its first identity by a claim certificate: makes its key, has the certificate issued and registered, and installs it.
 * @throws HawserError `ALREADY_PROVISIONED`, `INVALID_ID`, `BAD_OPTION`, `WRONG_SUBJECT`, `KEY_MISMATCH`; `FLEET_REFUSED`,
 *   `FLEET_ANSWER_INVALID`, `FLEET_TIMEOUT`; ConnectError. Try again with the same vault.
 */
export async function provisionByClaim(given: FleetProvisioning): Promise<{ serial: string; notAfterMs: number }> {
  const { broker, claim, trustAnchors, id, clientId = id, role = "sensor", vault, timeoutMs = PROVISION_WITHIN_MS } = given;
  const { keyStore, storage } = vault;
  checkId(id);
  const exchange = new FleetExchange(given);
  if (trustAnchors.length === 0) throw new HawserError("BAD_OPTION", "trustAnchors is empty", "Give Amazon Root CA 1 and 3.");
  const csr = firstRequest(vault, id);
  const untilMs = performance.now() + timeoutMs;
  const ca = trustAnchors.map((der) => new X509Certificate(der).toString());
  const options = { ca, ...claim, clientId, cleanStart: true, connectTimeoutMs: timeoutMs, reconnect: false } as const;
  const client = await MqttClient.connect(`mqtts://${hostPort({ port: 8_883, ...broker })}`, options);
  let leaf: Uint8Array;
  try {
    leaf = await exchange.run(client, csr, untilMs);
  } finally {
    await client.disconnect().catch(() => undefined);
  }
  installIdentity(storage, keyStore, { id, role, chain: [leaf], trustAnchors });
  const { serial, notAfterMs } = readCertificate(leaf);
  return { serial, notAfterMs };
}
