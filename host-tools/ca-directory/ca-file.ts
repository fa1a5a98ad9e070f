/** Reads a file of a CA directory as it is: nothing is proved. */
import { join } from "node:path";
import { errnoCode, storageError } from "../../sim/node/files/atomic-file.js";
import { readFileOnly } from "../../sim/node/files/safe-path.js";
import { corrupt } from "./directory-layout.js";

/** @throws HawserError `CA_CORRUPT` when the file is missing or a link */
export function readCaFile(directory: string, file: string): Buffer {
  const path = join(directory, file);
  try {
    return readFileOnly(path);
  } catch (error) {
    const problem = { ENOENT: "it is missing", ELOOP: "it is a link", EISDIR: "it is not a file" }[errnoCode(error)];
    if (problem !== undefined) throw corrupt(path, problem);
    throw storageError(error, "read", path);
  }
}
