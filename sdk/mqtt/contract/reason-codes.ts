/**
 * The reason codes of MQTT 5.0 (table 2-6) and the return codes of 3.1.1 (table 3.1), and the failure each of them means. What a failure
 * allows
 * (retry, other credential, redirect) follows from its class: see `connection/failure.ts`.
 */
import type { ErrorCode } from "../../error-codes.js";
import type { Failure, FailureCode } from "../../failure.js";
import { failure } from "../../failure.js";
import type { ProtocolVersion } from "../codec/packet-types.js";

/** The failure is left out where it has the reason's name: a row takes flash on each device. */
const REASONS: Readonly<Record<number, readonly [name: string, failure?: FailureCode]>> = {
  0x00: ["normal disconnection", "DISCONNECTED_BY_SERVER"],
  0x04: ["disconnect with will message", "DISCONNECTED_BY_SERVER"],
  0x80: ["unspecified error", "DISCONNECTED_BY_SERVER"],
  0x81: ["malformed packet"],
  0x82: ["protocol error"],
  0x83: ["implementation specific error", "DISCONNECTED_BY_SERVER"],
  0x84: ["unsupported protocol version"],
  0x85: ["client identifier not valid", "CLIENT_ID_REJECTED"],
  0x86: ["bad user name or password", "BAD_USERNAME_OR_PASSWORD"],
  0x87: ["not authorized"],
  0x88: ["server unavailable"],
  0x89: ["server busy"],
  0x8a: ["banned"],
  0x8b: ["server shutting down"],
  0x8c: ["bad authentication method"],
  0x8d: ["keep alive timeout", "KEEPALIVE_TIMEOUT"],
  0x8e: ["session taken over"],
  0x8f: ["topic filter invalid", "PROTOCOL_ERROR"],
  0x90: ["topic name invalid", "PROTOCOL_ERROR"],
  0x91: ["packet identifier in use", "PROTOCOL_ERROR"],
  0x92: ["packet identifier not found", "PROTOCOL_ERROR"],
  0x93: ["receive maximum exceeded"],
  0x94: ["topic alias invalid"],
  0x95: ["packet too large"],
  0x96: ["message rate too high"],
  0x97: ["quota exceeded"],
  0x98: ["administrative action"],
  0x99: ["payload format invalid", "PROTOCOL_ERROR"],
  0x9a: ["retain not supported", "CAPABILITY_NOT_SUPPORTED"],
  0x9b: ["QoS not supported", "CAPABILITY_NOT_SUPPORTED"],
  0x9c: ["use another server"],
  0x9d: ["server moved"],
  0x9e: ["shared subscriptions not supported", "CAPABILITY_NOT_SUPPORTED"],
  0x9f: ["connection rate exceeded"],
  0xa0: ["maximum connect time"],
  0xa1: ["subscription identifiers not supported", "CAPABILITY_NOT_SUPPORTED"],
  0xa2: ["wildcard subscriptions not supported", "CAPABILITY_NOT_SUPPORTED"],
};

/** CONNACK return codes of 3.1.1, as the reason codes of 5.0 that say the same. */
const RETURN_CODES: Readonly<Record<number, number>> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };

/** The one code other than 0 that is no refusal: nobody subscribes to the topic, or nobody did to the filter. */
const BELOW_0X80: Readonly<Record<string, number>> = { puback: 0x10, pubrec: 0x10, unsuback: 0x11 };

/** Longest piece of a broker's own words that is shown. */
const MAX_SHOWN = 120;

/** What a reason code is called in MQTT 5.0; "reason code 0x.." for one it does not know. */
export function reasonName(reasonCode: number): string {
  return REASONS[reasonCode]?.[0] ?? `reason code 0x${reasonCode.toString(16).padStart(2, "0")}`;
}

/** A stable upper-case error code for a refused PUBLISH, SUBSCRIBE or UNSUBSCRIBE: the name of the reason code. */
export function reasonErrorCode(reasonCode: number): ErrorCode {
  const reason = REASONS[reasonCode];
  return reason === undefined ? "REFUSED_BY_BROKER" : (reason[0].toUpperCase().replaceAll(" ", "_") as ErrorCode);
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
  const known = failureOf(reasonCode);
  const failureCode = known === "DISCONNECTED_BY_SERVER" ? "SERVER_UNAVAILABLE" : known;
  return build(failureCode, `the broker refused the connection: ${reasonName(reasonCode)}`, code, said);
}

/** What a DISCONNECT from the broker means. */
export function disconnectFailure(reasonCode: number, said: Said = {}): Failure {
  return build(failureOf(reasonCode), `the broker disconnected: ${reasonName(reasonCode)}`, reasonCode, said);
}

function failureOf(reasonCode: number): FailureCode {
  const reason = REASONS[reasonCode];
  return reason ? (reason[1] ?? (reasonErrorCode(reasonCode) as FailureCode)) : "DISCONNECTED_BY_SERVER";
}

function build(code: FailureCode, message: string, reasonCode: number, said: Said): Failure {
  const text = said.reasonString === undefined ? message : `${message} (${shownText(said.reasonString)})`;
  return failure(code, text, { reasonCode, ...(said.serverReference === undefined ? {} : { serverReference: said.serverReference }) });
}
