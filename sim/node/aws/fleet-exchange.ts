/**
 * The two requests of AWS IoT Fleet Provisioning over MQTT: CreateCertificateFromCsr, which issues a certificate and a token that is valid
 * for an hour, and RegisterThing, which spends the token and makes the certificate active by a template of the account.
 */
import { X509Certificate } from "node:crypto";
import { utf8Decode } from "../../../sdk/encoding/text.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import type { RequestingClient } from "../../../sdk/mqtt/requester.js";
import type { Message } from "../../../sdk/mqtt/contract/incoming-messages.js";
import { HawserError } from "../../../sdk/errors.js";
import { badFleetAnswer, fleetTimeout, refusedByFleet } from "./fleet-errors.js";

export interface FleetTemplate {
  /** The name of the provisioning template: 1 to 36 letters, digits, `_` and `-`. */
  template: string;
  /** Its parameters, for instance `SerialNumber`. Default none. */
  parameters?: Readonly<Record<string, string>>;
}

const CREATE = "$aws/certificates/create-from-csr/json";
/** Less than the hour for which AWS keeps a token. */
const TOKEN_MS = 3_300_000;
/** AWS issues nothing that begins later; its clock and this one may differ so much, milliseconds. */
const CLOCK_MS = 300_000;

interface Issued {
  readonly leaf: Uint8Array;
  readonly token: string;
  readonly atMs: number;
}

export class FleetExchange {
  readonly #template: FleetTemplate;
  /** Issued and not registered: asked again for the same key, the device goes on from here, and AWS issues no second one. */
  #issued: Issued | undefined;

  /** @throws HawserError `BAD_OPTION` */
  constructor(template: FleetTemplate) {
    if (!/^[\w-]{1,36}$/.test(template.template))
      throw new HawserError(
        "BAD_OPTION",
        "template is not the name of a provisioning template",
        "Use 1 to 36 letters, digits, '_' and '-'.",
      );
    this.#template = template;
  }

  /**
   * @param csr PKCS#10, DER
   * @returns the certificate, DER; active by the time it comes
   * @throws HawserError `FLEET_REFUSED`, `FLEET_ANSWER_INVALID`, `FLEET_TIMEOUT`, `KEY_MISMATCH`; as `subscribe` and `publish`
   */
  async run(client: RequestingClient, csr: Uint8Array, untilMs: number): Promise<Uint8Array> {
    const known = this.#issued;
    const isFit = known !== undefined && performance.now() - known.atMs < TOKEN_MS && isForKeyOf(csr, known.leaf);
    const issued = isFit ? known : await this.#create(client, csr, untilMs);
    this.#issued = issued;
    const { template, parameters = {} } = this.#template;
    const topic = `$aws/provisioning-templates/${template}/provision/json`;
    try {
      await ask(client, topic, { certificateOwnershipToken: issued.token, parameters }, "to register the device", untilMs);
    } catch (error) {
      // A token that was refused is of no more use; one whose answer was lost may be.
      if (error instanceof HawserError && error.code === "FLEET_REFUSED") this.#issued = undefined;
      throw error;
    }
    this.#issued = undefined;
    return issued.leaf;
  }

  async #create(client: RequestingClient, csr: Uint8Array, untilMs: number): Promise<Issued> {
    const request = { certificateSigningRequest: pemOf(csr) };
    const { certificatePem, certificateOwnershipToken: token } = await ask(client, CREATE, request, "to issue a certificate", untilMs);
    if (typeof certificatePem !== "string" || typeof token !== "string") throw badFleetAnswer("without a certificate and a token");
    const leaf = derOf(certificatePem);
    if (!isForKeyOf(csr, leaf))
      throw new HawserError(
        "KEY_MISMATCH",
        "AWS issued a certificate for another key than the device's",
        "Find out whom AWS takes this device for.",
      );
    checkDates(leaf);
    return { leaf, token, atMs: performance.now() };
  }
}

/** Publishes a request and waits for what comes on its topic with `accepted` or `rejected` behind. Both are heard before it is sent. */
async function ask(
  client: RequestingClient,
  topic: string,
  request: object,
  step: string,
  untilMs: number,
): Promise<Readonly<Record<string, unknown>>> {
  const [accepted, rejected] = [client.subscribe(`${topic}/accepted`, { qos: 1 }), client.subscribe(`${topic}/rejected`, { qos: 1 })];
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fleetTimeout(step)), Math.max(0, untilMs - performance.now()));
  });
  try {
    await Promise.race([late, Promise.all([accepted.granted, rejected.granted])]);
    const answer = Promise.race([
      accepted.next().then(({ value }) => ({ value, isAccepted: true })),
      rejected.next().then(({ value }) => ({ value, isAccepted: false })),
    ]);
    // Sent later, it would have a certificate issued that nobody waits for.
    const messageExpiryInterval = Math.max(1, Math.ceil((untilMs - performance.now()) / 1_000));
    const sent = client.publish(topic, JSON.stringify(request), { qos: 1, properties: { messageExpiryInterval } });
    const { value, isAccepted } = await Promise.race([late, answer, sent.then(() => answer)]);
    const content = contentOf(value);
    if (!isAccepted) throw refusedByFleet(step, content);
    return content;
  } finally {
    clearTimeout(timer);
    for (const subscription of [accepted, rejected]) void subscription.close().catch(() => undefined);
  }
}

function contentOf(message: Message | undefined): Readonly<Record<string, unknown>> {
  if (message === undefined) throw badFleetAnswer("nothing: the connection ended");
  try {
    const content: unknown = JSON.parse(utf8Decode(message.payload));
    if (typeof content === "object" && content !== null) return content as Readonly<Record<string, unknown>>;
  } catch {
    // Said below.
  }
  throw badFleetAnswer("something that is not JSON");
}

function pemOf(csr: Uint8Array): string {
  const lines = Buffer.from(csr)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines}\n-----END CERTIFICATE REQUEST-----\n`;
}

function derOf(pem: string): Uint8Array {
  try {
    return new Uint8Array(new X509Certificate(pem).raw);
  } catch {
    throw badFleetAnswer("a certificate that cannot be read");
  }
}

/** The request has the complete SubjectPublicKeyInfo, which no other key shares. */
function isForKeyOf(csr: Uint8Array, leaf: Uint8Array): boolean {
  try {
    return Buffer.from(csr).includes(Buffer.from(readCertificate(leaf).publicKey));
  } catch {
    return false;
  }
}

function checkDates(leaf: Uint8Array): void {
  const { notBeforeMs, notAfterMs } = readCertificate(leaf);
  if (notAfterMs < Date.now() || notBeforeMs > Date.now() + CLOCK_MS)
    throw badFleetAnswer(`a certificate from ${new Date(notBeforeMs).toISOString()} to ${new Date(notAfterMs).toISOString()}`);
}
