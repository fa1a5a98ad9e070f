/** Sends a label to a printer that takes raw data over TCP (port 9100, "JetDirect"). */
import { connect } from "node:net";
import { HawserError } from "../../sdk/errors.js";

export const RAW_PORT = 9100;
const PATIENCE_MS = 10_000;

/**
 * Resolves when the printer has taken all of it. Whether paper came out, raw printing does not tell: scan the label.
 * @throws HawserError `PRINTER_FAILED`
 */
export function printRaw(data: Buffer, host: string, port = RAW_PORT): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: PATIENCE_MS });
    const fail = (why: string): void => {
      socket.destroy();
      reject(new HawserError("PRINTER_FAILED", `the printer at ${host}:${port} took no label: ${why}`, "Check that it is on, and its address. The label is logged as made: the next one counts as a reprint."));
    };
    socket.once("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    socket.once("timeout", () => fail(`no progress for ${PATIENCE_MS / 1000} s`));
    // Some printers talk back; it says nothing of this label.
    socket.resume();
    socket.once("connect", () => socket.end(data, () => resolve()));
  });
}
