/** Opens the CA directory a command names: what is wrong with the directory comes before the question for a passphrase. */
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { openCa } from "../ca/certificate-authority.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { partsExpiry } from "../ca/expiry.js";
import type { Expiry } from "../ca/expiry.js";
import { day } from "./dates.js";
import { openCaParts, openCaReadOnly, proveCa } from "../ca/ca-without-passphrase.js";
import type { CaParts, CaView } from "../ca/ca-without-passphrase.js";
import type { Context } from "./command-runner.js";
import { tokenSigners } from "../pkcs11/token-signer.js";
import { caPassphrase, tokenPins } from "./passphrases.js";
import type { PassphraseOptions } from "./passphrases.js";
import { readProvedOrNot } from "./ca-reading.js";
import type { Terminal } from "./terminal.js";

function withHeld(problem: HawserError, held: readonly string[]): HawserError {
  if (held.length === 0) return problem;
  return new HawserError(problem.code, `${problem.message}. Until then, ${held.join(", ")} has no rights there`, problem.nextStep);
}

/**
 * @param unsaid codes of problems with broker configurations that the command does not want to be told of
 * @param isAlone take nothing in from the database of a shared registry
 * @throws HawserError as `openCa` and `readPassphrase`
 */
export async function openCaOf(
  options: PassphraseOptions & { dir: string },
  { terminal, env }: Context,
  unsaid: readonly string[] = [],
  isAlone = false,
): Promise<CertificateAuthority> {
  const parts = openCaParts(options.dir);
  warnOfCopy(parts, terminal);
  warnOfExpiry(parts, options.dir, terminal);
  const passphrase = await caPassphrase(options, env);
  terminal.startProgress("working on the CA");
  const told = new Map<string, string>();
  return openCa(resolve(options.dir), passphrase, {
    isAlone,
    signerFor: tokenSigners(tokenPins(options, env, terminal)),
    onAway: (problem) => terminal.warning(problem),
    onOutput: ({ directory, held, problem }) => {
      // Once is enough for what stays as it is.
      const text = problem === undefined ? "" : `${problem.code} ${held.join(" ")}`;
      const isNews = told.get(directory) !== text;
      told.set(directory, text);
      if (problem !== undefined && isNews && !unsaid.includes(problem.code)) terminal.warning(withHeld(problem, held));
    },
  });
}

/**
 * What a command that changes nothing shows of a CA: proved when a passphrase is at hand without asking for one, otherwise as the files
 * say, with a warning that says so.
 *
 * @throws HawserError as `openCaReadOnly`, and `WRONG_PASSPHRASE` when the command line named the passphrase
 */
export async function readCaOf(options: PassphraseOptions & { dir: string }, context: Context): Promise<CaView> {
  warnOfCopy(openCaParts(options.dir), context.terminal);
  return readProvedOrNot(options, context, {
    proved: (passphrase) => proveCa(options.dir, passphrase, "used", { onAway: (problem) => context.terminal.warning(problem) }),
    asItIs: () => openCaReadOnly(options.dir, "used"),
  });
}

/** Of the CA's own parts: devices renew themselves, and `hawser ca status` shows those that do not. */
function warnOfExpiry(ca: CaParts, dir: string, terminal: Terminal): void {
  for (const { what, notAfterMs, state } of partsExpiry(ca, Date.now())) {
    if (state === "ok") continue;
    const when = state === "expired" ? `expired on ${day(notAfterMs)}` : `expires on ${day(notAfterMs)}`;
    terminal.warning(
      new HawserError("EXPIRES_SOON", `${PART_NAMES[what]} of the CA in ${dir} ${when}`, EXPIRY_ADVICE[what] ?? "See `hawser ca status`."),
    );
  }
}

/** How people call what expires. */
export const PART_NAMES: Readonly<Record<Expiry["what"], string>> = {
  root: "the root certificate",
  "previous-root": "the certificate of the root before",
  issuing: "the issuing CA's certificate",
  broker: "the broker's certificate",
  crl: "the revocation list",
  "root-crl": "the root's revocation list",
  authority: "the authority's certificate",
  device: "the certificate of a device",
  client: "the certificate of a client",
};

const EXPIRY_ADVICE: Partial<Record<Expiry["what"], string>> = {
  broker: "Run: hawser ca broker-cert",
  crl: "Run: hawser ca crl",
  "root-crl":
    "Run: hawser ca crl --root, or, for an offline root, hawser ca request --for crl, or for a parent PKI, import its list: hawser ca answer",
  issuing: "Run: hawser ca rollover",
  "previous-root": "Run: hawser ca rollover --retire, when `hawser ca status` counts nobody who still hangs on it",
  root: "Run: hawser ca rollover --root, or, for an offline root, hawser ca request --for root; under a parent PKI, make a new CA in time",
};

function warnOfCopy({ olderCopy }: CaParts, terminal: Terminal): void {
  if (olderCopy !== undefined) terminal.warning(olderCopy);
}
