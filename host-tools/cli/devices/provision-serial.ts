/** Gives the device on a serial port its identity. */
import { checkId } from "../../../sdk/identity/device-id.js";
import { provisionOverSerial } from "../../station/provision-over-serial.js";
import { openSerialDevice } from "../../station/serial-device.js";
import { StationLink } from "../../station/station-link.js";
import { attributesOf } from "./attribute-flags.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { checkRoleOf } from "./provision.js";

export interface ProvisionSerialOptions extends PassphraseOptions {
  dir: string;
  id: string;
  /** Left out with `replace`: as the device had it. */
  role?: string;
  serial: string;
  /** Bits a second. */
  baud: number;
  /** How long to wait for a device, milliseconds. */
  wait: number;
  replace?: boolean;
  attribute?: string[];
  json?: boolean;
}

export async function provisionSerial(options: ProvisionSerialOptions, context: Context): Promise<void> {
  const { id, role, serial: port, baud, wait: waitMs } = options;
  checkId(id);
  const attributes = attributesOf(options.attribute);
  checkRoleOf(options);
  const link = new StationLink(openSerialDevice(port, baud));
  try {
    const ca = await openCaOf(options, context);
    context.terminal.startProgress(`provisioning the device on ${port}`);
    const replace = options.replace === true;
    const { serial, notAfterMs, replaced, ...device } = await provisionOverSerial(link, ca, {
      id,
      ...(role !== undefined && { role }),
      replace,
      attributes,
      waitMs,
      check: () => context.stop.check(),
    });
    context.terminal.result({ id, role: device.role, serial, notAfter: isoTime(notAfterMs), port, replaced }, [
      `${id} is provisioned: certificate ${serial}, valid until ${day(notAfterMs)}, in the device on ${port}.`,
      ...replaced.map((old) => `  revoked ${old}`),
    ]);
  } finally {
    link.close();
  }
}
