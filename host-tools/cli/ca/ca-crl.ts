/** Signs new revocation lists. */
import { join } from "node:path";
import { FILES } from "../../ca-directory/directory-layout.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface CaCrlOptions extends PassphraseOptions {
  dir: string;
  root?: boolean;
  url?: string;
  json?: boolean;
}

export async function renewCrl(options: CaCrlOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context);
  if (options.url !== undefined) await ca.setCrlBase(options.url);
  const { nextUpdateMs } = await ca.renewCrl({ root: options.root === true });
  const crl = join(options.dir, FILES.crl);
  context.terminal.result({ crl, nextUpdate: isoTime(nextUpdateMs), url: options.url }, [
    `${crl} is good until ${day(nextUpdateMs)}.`,
    ...(options.url === undefined ? [] : [`Certificates made from now on say that lists are found below ${options.url}.`]),
  ]);
}
