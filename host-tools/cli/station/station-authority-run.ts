/** Runs the central authority of factory stations. */
import { HawserError } from "../../../sdk/errors.js";
import { AuthorityBook } from "../../station/central/authority-book.js";
import { startStationAuthority } from "../../station/central/station-authority.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface StationAuthorityRunOptions extends PassphraseOptions {
  dir: string;
  book: string;
  host: string;
  port: number;
  batch: string[];
  role?: string[];
  json?: boolean;
}

export async function runStationAuthority(options: StationAuthorityRunOptions, context: Context): Promise<void> {
  const quotas = new Map(options.batch.map(readBatchOption));
  const ca = await openCaOf(options, context);
  const book = AuthorityBook.open(options.book, quotas);
  const { terminal, stop } = context;
  try {
    const authority = await startStationAuthority({
      ca,
      book,
      host: options.host,
      port: options.port,
      roles: options.role ?? ["sensor"],
      onEvent: ({ event, ...fields }) => {
        const what =
          "code" in fields
            ? `${fields.station}: ${fields.code}: ${fields.reason}`
            : `${fields.id} to ${fields.station}, ${fields.left} left`;
        terminal.event(event, fields, what, event === "issued" ? "green" : "yellow");
      },
    });
    terminal.event("ready", { port: authority.port }, `stations connect to https://${options.host}:${authority.port}`, "green");
    await stop.asked;
    await authority.close();
  } finally {
    book.close();
  }
  terminal.event("stopped", {}, "in an orderly way");
}

function readBatchOption(text: string): [station: string, boards: number] {
  const [, station, count] = /^([^=]+)=(\d{1,8})$/.exec(text) ?? [];
  if (station === undefined || count === undefined)
    throw new HawserError("USAGE", `invalid --batch ${JSON.stringify(text)}`, "Use NAME=COUNT: --batch line-1=1000.");
  return [station, Number(count)];
}
