/** Shuts a device or client out. */
import { RevocationUnproved } from "../../ca/certificate-authority.js";
import type { CertificateAuthority, RevokeOutcome } from "../../ca/certificate-authority.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { BROKER_PROBLEMS, brokerLines, brokersJson } from "../broker/broker-results.js";

export interface RevokeOptions extends PassphraseOptions {
  dir: string;
  id: string;
  reason: string;
  certificateOnly?: boolean;
  json?: boolean;
}

export async function revoke(options: RevokeOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const ca = await openCaOf(options, context, BROKER_PROBLEMS);
  const { outcome, problem } = await revokeWith(ca, options);
  const { id, state, reason, serials, brokers } = outcome;
  terminal.result({ id, state, reason, revoked: serials, brokers: brokersJson(brokers) }, [
    state === "revoked"
      ? `${id} is ${problem === undefined ? "shut out" : "revoked"} (${reason}).`
      : `The certificates of ${id} are revoked (${reason}); it may recover with its pre-shared key.`,
    ...serials.map((serial) => `  revoked ${serial}`),
    ...brokerLines(brokers),
  ]);
  if (problem !== undefined) throw problem;
}

/** What could not be proved is told after what was. */
async function revokeWith(
  ca: CertificateAuthority,
  options: RevokeOptions,
): Promise<{ outcome: RevokeOutcome; problem?: RevocationUnproved }> {
  try {
    return { outcome: await ca.revoke({ id: options.id, reason: options.reason, certificateOnly: options.certificateOnly === true }) };
  } catch (error) {
    if (error instanceof RevocationUnproved) return { outcome: error.outcome, problem: error };
    throw error;
  }
}
