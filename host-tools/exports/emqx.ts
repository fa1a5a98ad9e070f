/** Users for EMQX's built-in database, for listeners that ask for a password beside TLS. */
import { createHash, randomBytes } from "node:crypto";
import type { ExportDevice } from "../ca/exporting.js";
import { formulaSafe, writeCsv } from "./csv-writer.js";

export const EMQX_COLUMNS = ["user_id", "password_hash", "salt", "is_superuser"] as const;
export const PASSWORD_COLUMNS = ["user_id", "password"] as const;

export interface EmqxUsers {
  /** For `import_users`: as EMQX is configured by default for files, SHA-256 with the salt after the password. */
  readonly users: string;
  /** Who has which password: secret. */
  readonly passwords: string;
}

/** A new password a device: 192 random bits, which need no slow hash. */
export function emqxUsers(devices: readonly Pick<ExportDevice, "id">[]): EmqxUsers {
  const made = devices.map(({ id }) => ({ id, password: randomBytes(24).toString("base64url"), salt: randomBytes(16).toString("hex") }));
  const hash = (password: string, salt: string): string =>
    createHash("sha256")
      .update(password + salt)
      .digest("hex");
  return {
    users: writeCsv([EMQX_COLUMNS, ...made.map(({ id, password, salt }) => [id, hash(password, salt), salt, "false"])]).replaceAll(
      "\r\n",
      "\n",
    ),
    passwords: writeCsv([PASSWORD_COLUMNS, ...made.map(({ id, password }) => [formulaSafe(id), password])]).replaceAll("\r\n", "\n"),
  };
}
