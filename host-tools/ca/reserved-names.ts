/** Names that mean something else already: a certificate with one of them could be taken for what it is not. */
import { HawserError } from "../../sdk/errors.js";
import { isClientRole } from "../policy/roles.js";

/** The enrolment service's own name among clients and devices. */
export const AUTHORITY_NAME = "hawser-authority";
/** Also the names of several authorities at one broker, which begin with it. */
export function isAuthorityName(name: string): boolean {
  return name === AUTHORITY_NAME || name.startsWith(`${AUTHORITY_NAME}-`);
}

/** The name in broker certificates: it tells people what they see; clients look at the hosts. */
export const BROKER_NAME = "hawser-broker";

/**
 * Returns `name` when a device may have it.
 * @throws HawserError `RESERVED_NAME`
 */
export function checkDeviceName(name: string, brokerHosts: readonly string[]): string {
  if (isAuthorityName(name.toLowerCase()) || isClientRole(name.toLowerCase())) throw reserved(name, "hawser's own services and roles");
  return checkNoHost(name, brokerHosts);
}

/**
 * Returns `name` when a client with this role may have it.
 * @throws HawserError `RESERVED_NAME`
 */
export function checkClientName(name: string, role: string, brokerHosts: readonly string[]): string {
  if (isAuthorityName(name.toLowerCase()) && role !== "authority") throw reserved(name, "hawser's own services");
  return checkNoHost(name, brokerHosts);
}

function checkNoHost(name: string, brokerHosts: readonly string[]): string {
  const hosts = ["localhost", BROKER_NAME, ...brokerHosts.map((host) => host.toLowerCase())];
  if (hosts.includes(name.toLowerCase())) throw reserved(name, "brokers");
  return name;
}

function reserved(name: string, whom: string): HawserError {
  return new HawserError("RESERVED_NAME", `the name ${name} is reserved for ${whom}`, "Choose another name.");
}
