/**
 * The reason codes of MQTT 5.0 (table 2-6) and the return codes of 3.1.1 (table 3.1), and the failure each of them means. What a failure
 * allows
 * (retry, other credential, redirect) follows from its class: see `connection/failure.ts`.
 */
import type { ErrorCode } from "../../error-codes.js";
import type { Failure, FailureCode } from "../../failure.js";
import { failure } from "../../failure.js";
import type { ProtocolVersion } from "../codec/packet-types.js";

interface Reason {
  readonly name: string;
  readonly failure: FailureCode;
}

const REASONS: Readonly<Record<number, Reason>> = {
  0x00: { name: "normal disconnection", failure: "DISCONNECTED_BY_SERVER" },
  0x04: { name: "disconnect with will message", failure: "DISCONNECTED_BY_SERVER" },
  0x80: { name: "unspecified error", failure: "DISCONNECTED_BY_SERVER" },
  0x81: { name: "malformed packet", failure: "MALFORMED_PACKET" },
  0x82: { name: "protocol error", failure: "PROTOCOL_ERROR" },
  0x83: { name: "implementation specific error", failure: "DISCONNECTED_BY_SERVER" },
  0x84: { name: "unsupported protocol version", failure: "UNSUPPORTED_PROTOCOL_VERSION" },
  0x85: { name: "client identifier not valid", failure: "CLIENT_ID_REJECTED" },
  0x86: { name: "bad user name or password", failure: "BAD_USERNAME_OR_PASSWORD" },
  0x87: { name: "not authorized", failure: "NOT_AUTHORIZED" },
  0x88: { name: "server unavailable", failure: "SERVER_UNAVAILABLE" },
  0x89: { name: "server busy", failure: "SERVER_BUSY" },
  0x8a: { name: "banned", failure: "BANNED" },
  0x8b: { name: "server shutting down", failure: "SERVER_SHUTTING_DOWN" },
  0x8c: { name: "bad authentication method", failure: "BAD_AUTHENTICATION_METHOD" },
  0x8d: { name: "keep alive timeout", failure: "KEEPALIVE_TIMEOUT" },
  0x8e: { name: "session taken over", failure: "SESSION_TAKEN_OVER" },
  0x8f: { name: "topic filter invalid", failure: "PROTOCOL_ERROR" },
  0x90: { name: "topic name invalid", failure: "PROTOCOL_ERROR" },
  0x91: { name: "packet identifier in use", failure: "PROTOCOL_ERROR" },
  0x92: { name: "packet identifier not found", failure: "PROTOCOL_ERROR" },
  0x93: { name: "receive maximum exceeded", failure: "RECEIVE_MAXIMUM_EXCEEDED" },
  0x94: { name: "topic alias invalid", failure: "TOPIC_ALIAS_INVALID" },
  0x95: { name: "packet too large", failure: "PACKET_TOO_LARGE" },
  0x96: { name: "message rate too high", failure: "MESSAGE_RATE_TOO_HIGH" },
  0x97: { name: "quota exceeded", failure: "QUOTA_EXCEEDED" },
  0x98: { name: "administrative action", failure: "ADMINISTRATIVE_ACTION" },
  0x99: { name: "payload format invalid", failure: "PROTOCOL_ERROR" },
  0x9a: { name: "retain not supported", failure: "CAPABILITY_NOT_SUPPORTED" },
  0x9b: { name: "QoS not supported", failure: "CAPABILITY_NOT_SUPPORTED" },
  0x9c: { name: "use another server", failure: "USE_ANOTHER_SERVER" },
  0x9d: { name: "server moved", failure: "SERVER_MOVED" },
  0x9e: { name: "shared subscriptions not supported", failure: "CAPABILITY_NOT_SUPPORTED" },
  0x9f: { name: "connection rate exceeded", failure: "CONNECTION_RATE_EXCEEDED" },
  0xa0: { name: "maximum connect time", failure: "MAXIMUM_CONNECT_TIME" },
  0xa1: { name: "subscription identifiers not supported", failure: "CAPABILITY_NOT_SUPPORTED" },
  0xa2: { name: "wildcard subscriptions not supported", failure: "CAPABILITY_NOT_SUPPORTED" },
};

/** CONNACK return codes of 3.1.1, as the reason codes of 5.0 that say the same. */
const RETURN_CODES: Readonly<Record<number, number>> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };

/** The one code other than 0 that is no refusal: nobody subscribes to the topic, or nobody did to the filter. */
const BELOW_0X80: Readonly<Record<string, number>> = { puback: 0x10, pubrec: 0x10, unsuback: 0x11 };

/** Longest piece of a broker's own words that is shown. */
const MAX_SHOWN = 120;

/** What a reason code is called in MQTT 5.0; "reason code 0x.." for one it does not know. */
export function reasonName(reasonCode: number): string {
  return REASONS[reasonCode]?.name ?? `reason code 0x${reasonCode.toString(16).padStart(2, "0")}`;
}

/** A stable upper-case error code for a refused PUBLISH, SUBSCRIBE or UNSUBSCRIBE: the name of the reason code. */
export function reasonErrorCode(reasonCode: number): ErrorCode {
  const reason = REASONS[reasonCode];
  return reason === undefined ? "REFUSED_BY_BROKER" : (reason.name.toUpperCase().replaceAll(" ", "_") as ErrorCode);
}

/**
 * Whether `reasonCode` can be an answer in an acknowledgement: success, or a refusal the specification knows. Anything else says nothing,
 * and taking it for success would call a message delivered that may not be.
 */
export function isAnswer(cmd: "puback" | "pubrec" | "pubrel" | "pubcomp" | "suback" | "unsuback", reasonCode: number): boolean {
  if (reasonCode >= 0x80) return REASONS[reasonCode] !== undefined;
  return reasonCode === 0 || reasonCode === BELOW_0X80[cmd] || (cmd === "suback" && reasonCode <= 2);
}

/** A broker's text on one line, without control characters, and bounded. */
export function shownText(text: string): string {
  let line = "";
  for (const character of text) {
    line += character < " " || character === "\u007f" ? " " : character;
    if (line.length >= MAX_SHOWN) return `${line}...`;
  }
  return line;
}

interface Said {
  readonly reasonString?: string;
  readonly serverReference?: string;
}

/** What a CONNACK with a code other than 0 means. `legacyForm`: it came in the form of 3.1.1, whatever was asked for. */
export function connackFailure(code: number, version: ProtocolVersion, legacyForm: boolean, said: Said = {}): Failure {
  const reasonCode = legacyForm || version === 4 ? (RETURN_CODES[code] ?? code) : code;
  // "Unspecified" and "implementation specific" at this place: the broker is there, and does not want us now.
  const known = REASONS[reasonCode];
  const failureCode = known === undefined || known.failure === "DISCONNECTED_BY_SERVER" ? "SERVER_UNAVAILABLE" : known.failure;
  return build(failureCode, `the broker refused the connection: ${reasonName(reasonCode)}`, code, said);
}

/** What a DISCONNECT from the broker means. */
export function disconnectFailure(reasonCode: number, said: Said = {}): Failure {
  return build(
    REASONS[reasonCode]?.failure ?? "DISCONNECTED_BY_SERVER",
    `the broker disconnected: ${reasonName(reasonCode)}`,
    reasonCode,
    said,
  );
}

function build(code: FailureCode, message: string, reasonCode: number, said: Said): Failure {
  const text = said.reasonString === undefined ? message : `${message} (${shownText(said.reasonString)})`;
  return failure(code, text, { reasonCode, ...(said.serverReference === undefined ? {} : { serverReference: said.serverReference }) });
}
