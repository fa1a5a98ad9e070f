/** Sends a label to a printer that takes raw data over TCP (port 9100, "JetDirect"). */
import { connect } from "node:net";
import { HawserError } from "../../sdk/errors.js";

const RAW_PORT = 9100;
const PATIENCE_MS = 10_000;

/** `HOST` or `HOST:PORT`, an IPv6 address in brackets. Throws `USAGE`. */
export function readPrinterAddress(text: string): { host: string; port: number } {
  const [, host = "", port = String(RAW_PORT)] = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === "" || Number(port) > 65_535)
    throw new HawserError("USAGE", `invalid printer ${JSON.stringify(text)}`, "Use HOST or HOST:PORT.");
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/**
 * Resolves when the printer has taken all of it. Whether paper came out, raw printing does not tell: scan the label.
 * @throws HawserError `PRINTER_FAILED`
 */
export function printRaw(data: Buffer, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: PATIENCE_MS });
    const fail = (why: string): void => {
      socket.destroy();
      reject(
        new HawserError(
          "PRINTER_FAILED",
          `the printer at ${host}:${port} took no label: ${why}`,
          "Check that it is on, and its address. The label is logged as made: the next one counts as a reprint.",
        ),
      );
    };
    socket.once("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    socket.once("timeout", () => fail(`no progress for ${PATIENCE_MS / 1000} s`));
    // Some printers talk back; it says nothing of this label.
    socket.resume();
    socket.once("connect", () => socket.end(data, () => resolve()));
  });
}
