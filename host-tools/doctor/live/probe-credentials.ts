/** The credentials that a live examination is given: a directory written by `hawser issue`, or a JSON file. Never a command line. */
import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { readRegularFile } from "../../../sim/node/files/safe-path.js";

export interface ProbeCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly clientId?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
}

const MAX_PEM_BYTES = 1024 * 1024;
const NEXT =
  'Give a directory of `hawser issue`, or a file like {"username":"u","password":"p","cert":"c.pem","key":"k.pem","ca":"ca.pem"}.';

/** @throws HawserError `BAD_CREDENTIALS_FILE`, `NOT_A_FILE`; the file system's error when a file cannot be read */
export function readProbeCredentials(path: string): ProbeCredentials {
  if (statSync(path).isDirectory()) {
    const pem = (name: string): string => readPem(join(path, name));
    return { cert: pem("client.crt.pem"), key: pem("client.key.pem"), ca: pem("ca.crt.pem") };
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new HawserError("BAD_CREDENTIALS_FILE", `${path} is not JSON`, NEXT);
  }
  if (typeof value !== "object" || value === null) throw new HawserError("BAD_CREDENTIALS_FILE", `${path} is not a JSON object`, NEXT);
  const fields = value as Record<string, unknown>;
  const text = (name: string): string | undefined => {
    const field = fields[name];
    if (field !== undefined && typeof field !== "string")
      throw new HawserError("BAD_CREDENTIALS_FILE", `${name} in ${path} is not text`, NEXT);
    return field;
  };
  const file = (name: string): string | undefined => {
    const named = text(name);
    return named === undefined ? undefined : readPem(resolve(path, "..", named));
  };
  return {
    username: text("username"),
    password: text("password"),
    clientId: text("clientId"),
    cert: file("cert"),
    key: file("key"),
    ca: file("ca"),
  };
}

function readPem(path: string): string {
  return readRegularFile(path, MAX_PEM_BYTES).bytes.toString("utf8");
}
