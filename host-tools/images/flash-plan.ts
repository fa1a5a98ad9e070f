/**
 * What to write where, for Espressif's esptool: offsets, files, and the commands. Hawser runs none of them: burning eFuses cannot be
 * undone, and flash that the chip encrypts takes plain bytes only while its fuses still allow it.
 */
import { HawserError } from "../../sdk/errors.js";
import { hexOffset } from "./nvs-format.js";
import type { Partition } from "./partition-table.js";

export interface PlannedFile {
  readonly partition: string;
  readonly path: string;
  readonly sizeBytes: number;
}

/** `off`; `development`: the chip encrypts what esptool sends; `release`: it takes ciphertext only. */
export type FlashEncryption = "off" | "development" | "release";

export interface PlanRequest {
  readonly chip: string;
  readonly partitions: readonly Partition[];
  readonly files: readonly PlannedFile[];
  readonly port?: string;
  /** Bits a second. */
  readonly baud?: number;
  readonly flashEncryption?: FlashEncryption;
  /** A key for the HMAC scheme: file, eFuse block, and whether it derives keys (HMAC_UP) or serves the signature peripheral. */
  readonly efuse?: { readonly path: string; readonly block: number; readonly purpose: "HMAC_UP" | "HMAC_DOWN_DIGITAL_SIGNATURE" };
}

export interface FlashPlan {
  readonly chip: string;
  readonly writes: readonly {
    readonly partition: string;
    readonly offset: number;
    readonly sizeBytes: number;
    readonly eraseBytes: number;
    readonly file: string;
    readonly encrypted: boolean;
  }[];
  /** To be run in this order. */
  readonly commands: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

/**
 * @throws HawserError `BAD_IMAGE`: a partition that is not in the table, or is too small for its file
 */
export function flashPlan({
  chip,
  partitions,
  files,
  port = "PORT",
  baud = 460_800,
  flashEncryption = "off",
  efuse,
}: PlanRequest): FlashPlan {
  const writes = files.map(({ partition: name, path, sizeBytes }) => {
    const partition = partitions.find((one) => one.name === name);
    if (partition === undefined)
      throw new HawserError(
        "BAD_IMAGE",
        `the partition table has no partition ${JSON.stringify(name)}`,
        `It has ${partitions.map((one) => one.name).join(", ")}.`,
      );
    if (sizeBytes > partition.sizeBytes)
      throw new HawserError(
        "BAD_IMAGE",
        `${path} has ${sizeBytes} bytes, and the partition ${name} ${partition.sizeBytes}`,
        "Make the image for this partition table.",
      );
    // NVS encrypts itself; the chip must not do it a second time.
    const encrypted = flashEncryption !== "off" && (partition.encrypted || partition.type === "app");
    return { partition: name, offset: partition.offset, sizeBytes, eraseBytes: partition.sizeBytes, file: path, encrypted };
  });
  writes.sort((a, b) => a.offset - b.offset);
  const esptool = ["esptool", "--chip", chip, "--port", port, "--baud", String(baud)];
  const commands: string[][] = [];
  const notes: string[] = [];
  if (efuse !== undefined) {
    commands.push(["espefuse", "--chip", chip, "--port", port, "burn-key", `BLOCK_KEY${efuse.block}`, efuse.path, efuse.purpose]);
    notes.push("burn-key cannot be undone. Each board takes its own key; delete the key file afterwards.");
  }
  // A shorter image than its partition must not leave an older one behind it.
  for (const { offset, sizeBytes, eraseBytes } of writes)
    if (sizeBytes < eraseBytes) commands.push([...esptool, "erase-region", hexOffset(offset), hexOffset(eraseBytes)]);
  const sealed = writes.filter(({ encrypted }) => encrypted);
  const open = writes.filter(({ encrypted }) => !encrypted);
  if (open.length > 0) commands.push([...esptool, "write-flash", ...open.flatMap(({ offset, file }) => [hexOffset(offset), file])]);
  if (sealed.length > 0 && flashEncryption === "development")
    commands.push([...esptool, "write-flash", "--encrypt", ...sealed.flatMap(({ offset, file }) => [hexOffset(offset), file])]);
  if (sealed.length > 0 && flashEncryption === "release") {
    for (const { offset, file } of sealed)
      commands.push([
        "espsecure",
        "encrypt-flash-data",
        "--keyfile",
        "FLASH_KEY",
        "--address",
        hexOffset(offset),
        "--output",
        `${file}.enc`,
        file,
      ]);
    commands.push([...esptool, "write-flash", ...sealed.flatMap(({ offset, file }) => [hexOffset(offset), `${file}.enc`])]);
    notes.push(
      "In release mode the chip takes ciphertext only: FLASH_KEY is the board's flash encryption key, made on the host. A chip that made its own key takes none.",
    );
    if (chip !== "esp32") notes.push("encrypt-flash-data needs --aes-xts for this chip: add it.");
  }
  return { chip, writes, commands, notes };
}

/** A command as it is typed. */
export function shellLine(command: readonly string[]): string {
  return command.map((word) => (/^[\w./:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)).join(" ");
}
