/** The named places of serial ports on Linux: which there are, which no head is bound to, and whose MAC address a name tells. */
import { readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { readMac } from "../device-answers.js";

const BY_ID = "/dev/serial/by-id";
const BY_PATH = "/dev/serial/by-path";

export interface HeadPlace {
  readonly name: string;
  readonly port: string;
}

/**
 * `NAME=PORT`, or a port alone, which is then numbered.
 * @throws HawserError `USAGE` for a name that is not 1 to 16 letters, digits, `_` or `-`, and for a name or port that is there twice
 */
export function readHeadPlaces(texts: readonly string[]): HeadPlace[] {
  const places = texts.map((text, index) => {
    const [, name = String(index + 1), port = text] = /^([\w-]{1,16})=(.+)$/.exec(text) ?? [];
    // A port has a path; by `/` a slip in the name, as in `1 =/dev/a`, is told from one.
    if (port === "" || /^[^/]*=/.test(port))
      throw new HawserError(
        "USAGE",
        `invalid head ${JSON.stringify(text)}`,
        "Use NAME=PORT with a name of up to 16 letters, digits, '_' and '-': --head 1=/dev/serial/by-path/...",
      );
    return { name, port };
  });
  for (const key of ["name", "port"] as const) {
    const values = places.map((place) => place[key]);
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined)
      throw new HawserError(
        "USAGE",
        `the head's ${key} ${twice} is given twice`,
        "Give each head its own: --head 1=/dev/serial/by-path/...",
      );
  }
  return places;
}

/** Ports by their places that are none of `bound`'s, whatever name those were given by. */
export function unlistedPorts(bound: readonly string[]): string[] {
  const taken = new Set(bound.map(realPath));
  return filesIn(BY_PATH)
    .map((file) => join(BY_PATH, file))
    .filter((port) => !taken.has(realPath(port)));
}

/** The MAC address in the USB serial number of a chip with its own USB port (ESP32-S3, -C3 and later): udev puts it into the name by id. */
export function macOfPort(port: string): string | undefined {
  const real = realPath(port);
  const name = filesIn(BY_ID).find((file) => realPath(join(BY_ID, file)) === real) ?? port;
  const found = /usb-Espressif_USB_JTAG_serial_debug_unit_((?:[0-9A-F]{2}:){5}[0-9A-F]{2})-/i.exec(name)?.[1];
  return found === undefined ? undefined : readMac(found);
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
