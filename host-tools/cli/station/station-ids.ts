/** The id source that the options of `hawser station run` name. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { readBatch, readColumns } from "../../station/factory/batch-file.js";
import { idsByBatch, idsByList, idsByPattern } from "../../station/factory/id-source.js";
import type { IdSource } from "../../station/factory/id-source.js";
import { idsByMes } from "../../station/factory/mes-ids.js";
import { readSecretLine } from "../secret-files.js";

export interface IdOptions {
  readonly ids?: string;
  readonly idList?: string;
  readonly idsUrl?: string;
  readonly idsTokenFile?: string;
  readonly idsCa?: string;
  readonly batch?: string;
  readonly columns?: string;
  readonly allowNoMac?: boolean;
  readonly order: string;
  readonly product: string;
  readonly role: string;
}

/** @throws HawserError `USAGE`, `INVALID_ID`, `BAD_BATCH`, `BAD_URL`, and the system's errors */
export function idSourceOf(options: IdOptions): IdSource {
  const { ids, idList, idsUrl, batch, columns } = options;
  if ([ids, idList, idsUrl, batch].filter((source) => source !== undefined).length !== 1) {
    throw new HawserError(
      "USAGE",
      "one of --ids PATTERN, --id-list FILE, --batch FILE and --ids-url URL is required",
      "For instance: --ids 'meter-{n:6}'.",
    );
  }
  if (columns !== undefined && batch === undefined) throw new HawserError("USAGE", "--columns needs --batch", "Name the CSV with --batch.");
  checkMesOptions(options);
  if (ids !== undefined) return idsByPattern(ids);
  if (idsUrl !== undefined) return mesSource(idsUrl, options);
  if (idList !== undefined)
    return idsByList(
      readFileSync(idList, "utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== ""),
    );
  return idsByBatch(
    readBatch(readFileSync(batch ?? "", "utf8"), columns === undefined ? undefined : readColumns(readFileSync(columns, "utf8"))),
  );
}

function checkMesOptions({ idsUrl, idsTokenFile, idsCa, allowNoMac }: IdOptions): void {
  if (idsUrl === undefined && (idsTokenFile ?? idsCa) !== undefined)
    throw new HawserError("USAGE", "--ids-token-file and --ids-ca need --ids-url", "Name the address of the MES with --ids-url.");
  if (idsUrl !== undefined && allowNoMac === true)
    throw new HawserError("USAGE", "--ids-url needs the MAC address of each board", "Leave out --allow-no-mac.");
}

function mesSource(url: string, { idsTokenFile, idsCa, order, product, role }: IdOptions): IdSource {
  return idsByMes({
    url,
    order,
    product,
    role,
    ...(idsTokenFile !== undefined && { token: readSecretLine(idsTokenFile) }),
    ...(idsCa !== undefined && { trustAnchorPem: readFileSync(idsCa, "utf8") }),
  });
}
