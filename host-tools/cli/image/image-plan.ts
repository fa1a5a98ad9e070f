/** Prints what to flash where. */
import { statSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { flashPlan, shellLine } from "../../images/flash-plan.js";
import type { FlashEncryption } from "../../images/flash-plan.js";
import { hexOffset } from "../../images/nvs-format.js";
import { parsePartitionTable } from "../../images/partition-table.js";
import type { Context } from "../command-runner.js";
import { table } from "../terminal.js";
import { parseEfuseKey, parseSize, readInput } from "./image-files.js";

export interface ImagePlanOptions {
  partitions: string;
  file: string[];
  chip: string;
  tableOffset: string;
  port: string;
  flashEncryption: FlashEncryption;
  hmacKey?: string;
  efuseKey?: string;
  ds?: boolean;
  json?: boolean;
}

export async function imagePlan(options: ImagePlanOptions, { terminal }: Context): Promise<void> {
  const { chip, port, flashEncryption, hmacKey, efuseKey } = options;
  if ((hmacKey === undefined) !== (efuseKey === undefined))
    throw new HawserError("USAGE", "--hmac-key FILE and --efuse-key BLOCK go together", "Give both, or neither.");
  const partitions = parsePartitionTable(readInput(options.partitions).toString("utf8"), parseSize(options.tableOffset, "--table-offset"));
  const files = options.file.map((text) => {
    const [partition = "", ...rest] = text.split("=");
    const path = rest.join("=");
    if (partition === "" || path === "")
      throw new HawserError("USAGE", `invalid --file ${JSON.stringify(text)}`, "Use PARTITION=FILE, e.g. nvs=nvs.bin.");
    return { partition, path, sizeBytes: statSync(path).size };
  });
  const efuse =
    hmacKey !== undefined && efuseKey !== undefined
      ? {
          path: hmacKey,
          block: parseEfuseKey(efuseKey),
          purpose: options.ds === true ? ("HMAC_DOWN_DIGITAL_SIGNATURE" as const) : ("HMAC_UP" as const),
        }
      : undefined;
  const plan = flashPlan({ chip, partitions, files, port, flashEncryption, ...(efuse && { efuse }) });
  const rows = plan.writes.map(({ offset, partition, sizeBytes, file, encrypted }) => [
    hexOffset(offset),
    partition,
    String(sizeBytes),
    encrypted ? "encrypted" : "plain",
    file,
  ]);
  terminal.result({ ...plan, writes: plan.writes.map((write) => ({ ...write })) }, [
    ...table([["OFFSET", "PARTITION", "BYTES", "FLASH", "FILE"], ...rows]),
    "",
    ...plan.commands.map(shellLine),
    ...plan.notes.map((note) => `# ${note}`),
  ]);
}
