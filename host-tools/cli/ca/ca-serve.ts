/** Serves the revocation lists of a CA over HTTP. Needs no passphrase: they are signed. */
import { HawserError } from "../../../sdk/errors.js";
import { openCaParts } from "../../ca/ca-without-passphrase.js";
import type { Context } from "../command-runner.js";
import { serveCrls } from "../crl-publication.js";

export interface CaServeOptions {
  dir: string;
  port: number;
  host: string;
  json?: boolean;
}

export async function serveLists({ dir, port, host }: CaServeOptions, { terminal, stop }: Context): Promise<void> {
  if (openCaParts(dir).crlBase === undefined)
    terminal.warning(
      new HawserError(
        "CRL_PLACE_UNNAMED",
        `no certificate of the CA in ${dir} says where its revocation list is found`,
        "Run: hawser ca crl --url http://HOST[:PORT]",
      ),
    );
  const lists = await serveCrls(dir, port, host, terminal);
  try {
    await stop.asked;
  } finally {
    await lists.close();
  }
  terminal.event("stopped", {}, "in an orderly way");
}
