/** Where a broker's management API is, and who asks it. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { parseManagementUrl } from "../brokers/management-api.js";
import type { ManagementLogin } from "../brokers/management-api.js";
import { readProbeCredentials } from "../doctor/live/probe-credentials.js";

export interface LoginDetails {
  /** Trusted instead of the system's CA certificates, and of those of the credentials. */
  readonly caFile: string | undefined;
  /** What to give in the place of a file without name and password. */
  readonly next: string;
  readonly usualPort?: number;
}

/**
 * @param credentials a JSON file with username and password
 * @throws HawserError `BAD_URL`, `BAD_CREDENTIALS_FILE`; the system's errors
 */
export function managementLogin(url: string, credentials: string, { caFile, next, usualPort }: LoginDetails): ManagementLogin {
  const address = parseManagementUrl(url, usualPort);
  const { username, password, ca } = readProbeCredentials(credentials);
  if (username === undefined || password === undefined)
    throw new HawserError("BAD_CREDENTIALS_FILE", `${credentials} has no username and password`, next);
  return { url: address, username, password, ca: caFile === undefined ? ca : readFileSync(caFile, "utf8") };
}
