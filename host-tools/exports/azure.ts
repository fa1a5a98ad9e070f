/** Files for Azure's Device Provisioning Service (REST API 2021-10-01). */
import { HawserError } from "../../sdk/errors.js";
import type { ExportMaterial } from "../ca/exporting.js";

/** Of one bulk call. */
const MOST_A_CALL = 10;
/** Registration ids are lower case; the service folds others, and two devices could become one. */
const REGISTRATION_ID = /^[a-z0-9](?:[a-z0-9._:-]{0,126}[a-z0-9])?$/;

/**
 * One enrollment group for the whole fleet, by its issuing CA: the body of `PUT /enrollmentGroups/GROUP`. The common name of a device's
 * certificate is its registration id.
 * @throws HawserError `BAD_EXPORT`
 */
export function azureGroup({ issuing }: Pick<ExportMaterial, "issuing">, group: string): string {
  checkRegistrationId(group, "group");
  const attestation = { type: "x509", x509: { signingCertificates: { primary: { certificate: base64(issuing) } } } };
  return `${JSON.stringify({ enrollmentGroupId: group, attestation, provisioningStatus: "enabled" })}\n`;
}

/**
 * Individual enrollments: one line is the body of one `POST /enrollments`, which takes ten at most. Prefer the group.
 * @throws HawserError `BAD_EXPORT` naming the device
 */
export function azureIndividual({ devices }: Pick<ExportMaterial, "devices">): string {
  const enrollments = devices.map(({ id, chain: [leaf = new Uint8Array()] }) => ({
    registrationId: checkRegistrationId(id, "device"),
    deviceId: id,
    attestation: { type: "x509", x509: { clientCertificates: { primary: { certificate: base64(leaf) } } } },
  }));
  const calls = Array.from({ length: Math.ceil(enrollments.length / MOST_A_CALL) }, (_, call) =>
    enrollments.slice(call * MOST_A_CALL, (call + 1) * MOST_A_CALL),
  );
  return calls.map((some) => `${JSON.stringify({ mode: "create", enrollments: some })}\n`).join("");
}

function checkRegistrationId(id: string, what: string): string {
  if (REGISTRATION_ID.test(id)) return id;
  throw new HawserError(
    "BAD_EXPORT",
    `the ${what} ${id} cannot be a registration id: Azure takes lower-case letters, digits, '-', '.', '_' and ':', a letter or digit first and last`,
    "Leave it out with --device, or give devices lower-case ids.",
  );
}

function base64(der: Uint8Array): string {
  return Buffer.from(der).toString("base64");
}
