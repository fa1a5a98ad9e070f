/** Gives a device its first identity by EST, in a vault that outlives a request which somebody has to approve. */
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { provisionByEst, type EstProvisioning } from "../../../sim/node/est/est-enrolment.js";
import { EstRefusal } from "../../../sim/node/est/est-errors.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import { fromPem } from "../../pki/pem.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { vaultPassphrase, type PassphraseOptions } from "../passphrases.js";
import { readSecretLine } from "../secret-files.js";
import type { StopSignal } from "../stop-signal.js";

export interface EnrolOptions extends PassphraseOptions {
  est: string;
  estCa: string;
  id: string;
  vault: string;
  label?: string;
  passwordFile?: string;
  username?: string;
  brokerCa?: string;
  /** Milliseconds. */
  wait: number;
  json?: boolean;
}

/** Between two looks at a request that waits for approval, where the server does not say, seconds. */
const LOOK_EVERY_SECONDS = 30;

export async function enrol(options: EnrolOptions, context: Context): Promise<void> {
  const { est, estCa, id, label, brokerCa, username = checkId(options.id) } = options;
  const trustAnchors = readCertificates(estCa);
  const brokerAnchors = brokerCa === undefined ? undefined : readCertificates(brokerCa);
  const password = options.passwordFile === undefined ? context.env["HAWSER_EST_PASSWORD"] : readSecretLine(options.passwordFile);
  const isThere = existsSync(options.vault);
  const passphrase = await vaultPassphrase(options, context.env, !isThere);
  context.stop.check();
  const vault = isThere ? Vault.open(options.vault, passphrase) : Vault.create(options.vault, passphrase);
  try {
    context.terminal.startProgress("asking the EST server for a certificate");
    const given: EstProvisioning = {
      url: est,
      trustAnchors,
      id,
      vault,
      ...(label === undefined ? {} : { label }),
      ...(password === undefined ? {} : { login: () => ({ username, password }) }),
      ...(brokerAnchors === undefined ? {} : { brokerAnchors }),
    };
    const { serial, notAfterMs } = await approved(given, options.wait, context.stop);
    context.terminal.result({ id, serial, notAfter: isoTime(notAfterMs), vault: options.vault }, [
      `${id} is enrolled: certificate ${serial}, valid until ${day(notAfterMs)}, in ${options.vault}.`,
    ]);
  } finally {
    vault.close();
  }
}

/** Asks again while somebody has to approve the request, for as long as is waited for that. */
async function approved(given: EstProvisioning, waitMs: number, stop: StopSignal): Promise<{ serial: string; notAfterMs: number }> {
  const untilMs = performance.now() + waitMs;
  for (;;) {
    try {
      return await provisionByEst(given);
    } catch (error) {
      if (!(error instanceof EstRefusal) || error.code !== "EST_PENDING") throw error;
      const pauseMs = Math.max(1, error.retryAfterSeconds ?? LOOK_EVERY_SECONDS) * 1_000;
      if (performance.now() + pauseMs > untilMs) throw error;
      const waiting = new AbortController();
      await Promise.race([delay(pauseMs, undefined, { signal: waiting.signal }), stop.asked]);
      waiting.abort();
      if (stop.requested) throw new HawserError("INTERRUPTED", "stopped while the request waits for approval", "Run the command again.");
    }
  }
}

/** @throws HawserError `BAD_CERTIFICATE`, and the system's errors */
function readCertificates(path: string): Uint8Array[] {
  const text = readFileSync(path, "utf8");
  let found: Uint8Array[] = [];
  let why = "it has no block BEGIN CERTIFICATE";
  try {
    found = fromPem("CERTIFICATE", text);
  } catch (error) {
    why = errorMessage(error);
  }
  if (found.length > 0) return found;
  throw new HawserError("BAD_CERTIFICATE", `no certificate can be read from ${path}: ${why}`, "Give a PEM file of CA certificates.");
}
