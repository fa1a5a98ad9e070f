/**
 * Ends, for as long as a service runs, the sessions at configured brokers that should have ended: of certificates that expired, and what
 * could not be done before.
 */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import type { Terminal } from "./terminal.js";

const INTERVAL_MS = 60_000;

/** @returns what ends it */
export function keepSessions(ca: CertificateAuthority, terminal: Terminal, intervalMs = INTERVAL_MS): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    try {
      for (const { directory, ended } of await ca.syncOutputs()) {
        if (ended.length > 0)
          terminal.event("sessions-ended", { broker: directory, names: [...ended] }, `${ended.join(", ")} at the broker in ${directory}`);
      }
    } catch (error) {
      terminal.event(
        "sync-failed",
        { code: errorCode(error), message: errorMessage(error) },
        `${errorCode(error)}: ${errorMessage(error)}`,
        "red",
      );
    }
    if (timer !== undefined) wait();
  };
  const wait = (): void => {
    timer = setTimeout(() => void look(), intervalMs);
  };
  wait();
  return () => {
    clearTimeout(timer);
    timer = undefined;
  };
}
