/** Which values mosquitto refuses, and so does not start with. */
import type { Directive } from "./conf-reader.js";
import { isLoopbackAddress } from "./model.js";
import type { OptionKind } from "./option-table.js";
import type { MosquittoVersion } from "./version.js";

interface Wrong {
  readonly what: string;
  readonly meant?: string | undefined;
}

const LOG_DESTINATIONS = ["none", "syslog", "stdout", "stderr", "topic", "dlt", "file", "android"];
const LOG_TYPES = [
  "none",
  "information",
  "notice",
  "warning",
  "error",
  "debug",
  "subscribe",
  "unsubscribe",
  "internal",
  "websockets",
  "all",
];
const YES: Readonly<Record<string, string>> = {
  yes: "true",
  on: "true",
  True: "true",
  TRUE: "true",
  no: "false",
  off: "false",
  False: "false",
  FALSE: "false",
};

/** Undefined when mosquitto takes the value. */
export function wrongValue(name: string, kind: OptionKind, directive: Directive, version: MosquittoVersion): Wrong | undefined {
  const { value, words } = directive;
  const first = words[0] ?? "";
  if (first === "" && name !== "retry_interval") return { what: `${name} has no value` };
  if (kind === "bool" && !["true", "false", "0", "1"].includes(first)) {
    const meant = YES[first];
    return {
      what: `${name} takes true or false, not ${JSON.stringify(first)}`,
      meant: meant === undefined ? undefined : `${name} ${meant}`,
    };
  }
  const number = Number.parseInt(first, 10) || 0;
  switch (name) {
    case "listener":
    case "port":
      if (number < (name === "port" ? 1 : 0) || number > 65_535) return { what: `${first} is not a port` };
      return name === "listener" && words[1] !== undefined && isUnresolvable(words[1])
        ? { what: `${words[1]} is not an address` }
        : undefined;
    case "max_keepalive":
      return number > 65_535 || (number < 10 && !(number === 0 && version.atLeast(2, 0, 12)) && !version.atLeast(2, 0, 12))
        ? { what: `max_keepalive ${first} is out of range` }
        : undefined;
    case "sys_interval":
      return number < 0 ? { what: `sys_interval ${first} is not a number of seconds` } : undefined;
    case "max_packet_size":
      return number < 20 ? { what: `max_packet_size ${first} is too small` } : undefined;
    case "max_inflight_messages":
      return number > 65_535 ? { what: "max_inflight_messages is at most 65535" } : undefined;
    case "max_qos":
    case "maximum_qos":
      return number < 0 || number > 2 ? { what: `${name} is 0, 1 or 2` } : undefined;
    case "protocol":
      return ["mqtt", "websockets", ...(version.atLeast(2, 1) ? ["http_api"] : [])].includes(first)
        ? undefined
        : { what: `protocol is mqtt or websockets, not ${first}` };
    case "log_dest":
      return LOG_DESTINATIONS.includes(first) ? undefined : { what: `log_dest knows no ${JSON.stringify(first)}` };
    case "log_type":
      return LOG_TYPES.includes(first) ? undefined : { what: `log_type knows no ${JSON.stringify(first)}` };
    case "socket_domain":
      return ["ipv4", "ipv6"].includes(first) ? undefined : { what: `socket_domain is ipv4 or ipv6, not ${first}` };
    case "persistent_client_expiration":
      return /^\d+[hdwmy]$/.test(first) || (version.atLeast(2, 1) && /^\d+s$/.test(first))
        ? undefined
        : { what: "persistent_client_expiration is a number with h, d, w, m or y" };
    case "tls_version":
      return ["tlsv1.1", "tlsv1.2", "tlsv1.3"].includes(value)
        ? undefined
        : { what: `tls_version is tlsv1.2 or tlsv1.3, not ${JSON.stringify(value)}` };
    case "topic":
      return wrongTopic(words);
    case "user":
      return /\s/.test(value)
        ? { what: `there is no user ${JSON.stringify(value)} to become when it is started as root (a comment behind a name is part of it)` }
        : undefined;
    case "pid_file":
    case "persistence_location":
      return undefined;
    default:
      return undefined;
  }
}

function wrongTopic(words: readonly string[]): Wrong | undefined {
  const [, direction, qos] = words;
  if (direction !== undefined && !["in", "out", "both"].includes(direction.toLowerCase()))
    return { what: `a bridge's topic goes in, out or both, not ${JSON.stringify(direction)}` };
  return qos !== undefined && (Number.parseInt(qos, 10) || 0) > 2 ? { what: `a bridge's QoS is 0, 1 or 2, not ${qos}` } : undefined;
}

/** Text that can be neither an address nor a host name. */
function isUnresolvable(address: string): boolean {
  if (address.startsWith("#") || address.startsWith("/") || isLoopbackAddress(address)) return false;
  if (/^\d+(\.\d+)*$/.test(address))
    return !/^(\d{1,3})(\.\d{1,3}){3}$/.test(address) || address.split(".").some((part) => Number(part) > 255);
  return false;
}
