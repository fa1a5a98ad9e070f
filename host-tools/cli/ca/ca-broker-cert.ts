/** Gives the broker a new key and certificate, for other hosts if asked. */
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaBrokerCertOptions extends PassphraseOptions {
  dir: string;
  addHost?: readonly string[];
  removeHost?: readonly string[];
  json?: boolean;
}

export async function renewBrokerCertificate(options: CaBrokerCertOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  const { serial, notAfterMs, hosts } = await ca.renewBrokerCertificate({
    addHosts: options.addHost ?? [],
    removeHosts: options.removeHost ?? [],
  });
  context.terminal.result({ serial, notAfter: isoTime(notAfterMs), hosts }, [
    `The broker has certificate ${serial} for ${hosts.join(", ")}, valid until ${day(notAfterMs)}.`,
  ]);
}
