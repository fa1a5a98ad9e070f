/** EST as the way by which a device gets its certificates: the first one, and each that replaces one. */
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import type { Enrolment } from "../../../sdk/identity/enrolment-port.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import type { KeyStore, Storage } from "../../../sdk/platform.js";
import { firstRequest } from "../first-key.js";
import { nodeChainVerifier } from "../node-chain-verifier.js";
import type { LinkKeys } from "../node-key-store.js";
import { chainFor, rootsOf } from "./est-chain.js";
import { EstClient, isCurrent, type EstServer } from "./est-client.js";
import { badAnswer, EstRefusal } from "./est-errors.js";

export interface EstEnrolmentOptions extends EstServer {
  /** Those of the device's platform: a `Vault`, or a key store of this module. Its present certificate signs in at the EST server. */
  keys: Pick<LinkKeys, "signingKey">;
}

/** Less than a device waits for, so that it hears why no certificate came, milliseconds. */
const ANSWER_WITHIN_MS = 25_000;

/**
 * Renews a `Device`'s certificate by EST (RFC 7030): `new Device({ broker, enrolment: estEnrolment({ url, trustAnchors, keys: vault }) },
 * platform)`. The present certificate signs in (`simplereenroll`); one that has expired no longer does, and then `login` has to.
 * @throws HawserError `BAD_URL`, `BAD_OPTION`
 */
export function estEnrolment(options: EstEnrolmentOptions): Enrolment {
  const client = new EstClient(options, options.keys);
  return {
    request: async (csr, current) => {
      const untilMs = performance.now() + ANSWER_WITHIN_MS;
      try {
        const caCertificates = await client.caCertificates(untilMs);
        const issued = await client.enrol(csr, current && isCurrent(current) ? current : undefined, untilMs);
        return { chain: chainFor(csr, issued, caCertificates) };
      } catch (error) {
        if (!(error instanceof EstRefusal)) throw error;
        const { retryAfterSeconds } = error;
        return {
          error: {
            code: errorCode(error),
            message: errorMessage(error),
            ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
          },
        };
      }
    },
  };
}

export interface EstProvisioning extends EstServer {
  /** The device's id: 1 to 64 letters, digits, `.`, `_`, `-`. */
  id: string;
  /** Default `sensor`. */
  role?: string;
  /** Where the identity goes: a `Vault`. A key that an earlier try has left there is used again. */
  vault: { keyStore: KeyStore & LinkKeys; storage: Storage };
  /** The CAs, DER, by which brokers are judged; default the roots that the EST server names. */
  brokerAnchors?: readonly Uint8Array[];
  /** How long the server may take, milliseconds; default 30000. */
  timeoutMs?: number;
}

/**
 * Gives a device its first identity by EST's `simpleenroll`: makes its key, has the certificate issued, and installs both.
 * @throws HawserError `ALREADY_PROVISIONED`, `INVALID_ID`, `UNTRUSTED_CERTIFICATE`; `EST_PENDING`, `EST_REFUSED`, `EST_LOGIN_REFUSED`,
 *   `EST_ANSWER_INVALID`, `EST_TIMEOUT`, and the codes of failed connections; as `installIdentity`. Try again with the same vault.
 */
export async function provisionByEst(given: EstProvisioning): Promise<{ serial: string; notAfterMs: number }> {
  const { id, role = "sensor", vault, brokerAnchors, timeoutMs = 30_000 } = given;
  const { keyStore, storage } = vault;
  checkId(id);
  const client = new EstClient(given, keyStore);
  const csr = firstRequest(vault, id);
  const untilMs = performance.now() + timeoutMs;
  const caCertificates = await client.caCertificates(untilMs);
  const roots = rootsOf(caCertificates);
  const trustAnchors = brokerAnchors ?? roots;
  // Before a one-time password is used up.
  if (trustAnchors.length === 0) throw badAnswer("names no root CA, and no other CA is given for brokers");
  const chain = chainFor(csr, await client.enrol(csr, undefined, untilMs), caCertificates);
  if (!nodeChainVerifier.leadsTo(chain, [...roots, ...given.trustAnchors])) {
    throw new HawserError(
      "UNTRUSTED_CERTIFICATE",
      "the certificate was not issued by a CA that the EST server names",
      "Find out who answers at the EST server's URL.",
    );
  }
  installIdentity(storage, keyStore, { id, role, chain, trustAnchors });
  const { serial, notAfterMs } = readCertificate(chain[0] as Uint8Array);
  return { serial, notAfterMs };
}
