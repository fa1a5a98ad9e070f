/** The revocation lists of an opened CA, kept fresh by whatever service runs on it, and told of in its output. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { openCaParts } from "../ca/ca-without-passphrase.js";
import { CrlKeeper } from "./crl-renewal-timer.js";
import { isoTime } from "./dates.js";
import type { Terminal } from "./terminal.js";

export function keptCrl(ca: CertificateAuthority, terminal: Terminal): CrlKeeper {
  return new CrlKeeper({
    nextUpdateMs: () => openCaParts(ca.directory).crlNextUpdateMs,
    renew: () => ca.renewCrl(),
    onRenewed: (nextUpdateMs) =>
      terminal.event("crl-renewed", { nextUpdate: isoTime(nextUpdateMs) }, `good until ${isoTime(nextUpdateMs)}`),
    onFailed: (error) =>
      terminal.event(
        "crl-failed",
        { code: errorCode(error), message: errorMessage(error) },
        `${errorCode(error)}: ${errorMessage(error)}`,
        "red",
      ),
  });
}
