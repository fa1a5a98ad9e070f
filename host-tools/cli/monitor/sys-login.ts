/** How `hawser monitor` reaches a broker's `$SYS` topics. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { parseBrokerUrl } from "../../../sim/node/url-link.js";
import { readProbeCredentials } from "../../doctor/live/probe-credentials.js";
import { SysSource } from "../../monitor/sys-source.js";
import type { SysExtra, SysOwner } from "../../monitor/sys-source.js";

export interface SysLogin {
  sys?: string;
  credentials?: string;
  ca?: string;
}

/** @throws HawserError `USAGE`, `BAD_URL` */
export function checkSysLogin({ sys, credentials, ca }: SysLogin): void {
  if (sys !== undefined) parseBrokerUrl(sys);
  if (sys === undefined && (credentials ?? ca) !== undefined)
    throw new HawserError("USAGE", "--credentials and --ca need --sys", "Run: hawser monitor --help");
}

/** Undefined without `--sys`. To be started. Throws as `readProbeCredentials`, and the system's errors. */
export function sysSourceOf({ sys, credentials, ca }: SysLogin, owner: SysOwner, extra?: SysExtra): SysSource | undefined {
  if (sys === undefined) return undefined;
  const login = credentials === undefined ? {} : readProbeCredentials(credentials);
  const anchors = ca === undefined ? login.ca : readFileSync(ca, "utf8");
  const given = Object.entries({ ...login, ca: anchors }).filter(([, value]) => value !== undefined);
  return new SysSource(sys, Object.fromEntries(given), owner, extra);
}
