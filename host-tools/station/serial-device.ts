/**
 * A serial port of this machine as a stream of Node's, raw: `stty` (coreutils, macOS) sets it up through the file that is open, so that
 * nothing closes and opens it in between, which would reset many boards. Linux and macOS.
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { isatty, ReadStream } from "node:tty";
import type { Duplex } from "node:stream";
import type { ErrorCode } from "../../sdk/error-codes.js";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";

/** -hupcl: closing the port does not drop DTR, which would reset the board while it starts with what it was just given. */
const RAW = ["raw", "-echo", "cs8", "-parenb", "-cstopb", "cread", "clocal", "-hupcl", "-crtscts", "-ixon", "-ixoff"];

export const DEFAULT_BAUD = 115_200;

const NO_ADAPTER = [
  "NOT_A_SERIAL_PORT",
  "there is no device behind",
  "Plug the device or its adapter in again, or name another port.",
] as const;

/** How a port refuses that is there by its name. */
const REFUSALS: Readonly<Record<string, readonly [code: ErrorCode, what: string, next: string]>> = {
  EBUSY: ["SERIAL_IN_USE", "another program uses", "Close it: a serial monitor, a terminal program, another hawser."],
  ENXIO: NO_ADAPTER,
  ENODEV: NO_ADAPTER,
  EIO: NO_ADAPTER,
  EISDIR: ["NOT_A_SERIAL_PORT", "no board can be behind a directory:", "Name the port itself, for instance one of the files in it."],
  EACCES: [
    "PERMISSION_DENIED",
    "this user may not open",
    "Add the user to the port's group (sudo usermod -aG dialout NAME), then log in again.",
  ],
};

/**
 * @param path for instance `/dev/ttyUSB0`
 * @param baud bits a second, as the device has it
 * @throws HawserError `NOT_A_SERIAL_PORT`, `SERIAL_IN_USE`, `PERMISSION_DENIED`, `BAD_BAUD`, `STTY_MISSING`; and file-system errors (no
 *   such port)
 */
export function openSerialDevice(path: string, baud: number = DEFAULT_BAUD): Duplex {
  const file = open(path);
  try {
    if (!isatty(file))
      throw new HawserError(
        "NOT_A_SERIAL_PORT",
        `${path} is not a serial port`,
        "Use a terminal device, e.g. /dev/ttyUSB0 or /dev/cu.usbserial-110.",
      );
    configure(file, path, baud);
    return new ReadStream(file);
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function open(path: string): number {
  try {
    // O_NONBLOCK: without it opening waits for a carrier that these lines do not have.
    return openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  } catch (error) {
    const [code, what, next] = REFUSALS[errnoCode(error)] ?? [];
    throw code === undefined ? error : new HawserError(code, `${what} ${path}`, next);
  }
}

function configure(file: number, path: string, baud: number): void {
  const { status, stderr, error } = spawnSync("stty", [String(baud), ...RAW], { stdio: [file, "ignore", "pipe"], encoding: "utf8" });
  if (error)
    throw new HawserError(
      "STTY_MISSING",
      `stty cannot be run: ${error.message}`,
      "Install coreutils. Serial ports are supported only on Linux and macOS.",
    );
  if (status === 0) return;
  throw new HawserError(
    "BAD_BAUD",
    `${path} cannot be set to ${baud} baud: ${stderr.trim()}`,
    "Choose a baud rate the port has, e.g. 115200.",
  );
}
