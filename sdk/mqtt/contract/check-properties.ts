/** Whether properties given by an application can be written at all (MQTT 5.0, sections 1.5 and 3.3.2.3). */
import { HawserError } from "../../errors.js";
import type { MessageProperties, UserProperties } from "../codec/packet-types.js";
import { checkTopic } from "./topics.js";
import { utf8Length } from "../../encoding/utf8.js";
import { unfitText } from "../../checks/text-check.js";

const MAX_FIELD_BYTES = 65_535;
const KNOWN: readonly string[] = [
  "payloadFormatIndicator",
  "messageExpiryInterval",
  "contentType",
  "responseTopic",
  "correlationData",
  "userProperties",
];

/** Pairs in their order, or an object whose values are texts or lists of texts, as other libraries have them. */
export type GivenUserProperties = UserProperties | Readonly<Record<string, string | readonly string[]>>;

/** A message's properties as an application gives them. */
export type GivenMessageProperties = Omit<MessageProperties, "userProperties"> & { readonly userProperties?: GivenUserProperties };

/**
 * Returns the properties as they are sent.
 * @throws HawserError `BAD_PROPERTY`, `INVALID_TOPIC` (of the response)
 */
export function checkMessageProperties(properties: GivenMessageProperties): MessageProperties {
  if (typeof properties !== "object" || properties === null) throw badProperty("properties", "must be an object");
  for (const name in properties) if (!KNOWN.includes(name)) throw badProperty(name, `is not a message property: use ${KNOWN.join(", ")}`);
  const {
    payloadFormatIndicator: isText,
    messageExpiryInterval: expiry,
    contentType,
    responseTopic,
    correlationData,
    userProperties,
  } = properties;
  if (isText !== undefined && typeof isText !== "boolean") throw badProperty("payloadFormatIndicator", "must be true or false");
  if (expiry !== undefined) checkSeconds("messageExpiryInterval", expiry);
  if (contentType !== undefined) checkString("contentType", contentType);
  if (responseTopic !== undefined) checkTopic(responseTopic);
  if (correlationData !== undefined && !(correlationData instanceof Uint8Array && correlationData.length <= MAX_FIELD_BYTES)) {
    throw badProperty("correlationData", "must be a Uint8Array of at most 65535 bytes");
  }
  if (userProperties === undefined) return properties as MessageProperties;
  const pairs = checkUserProperties(userProperties);
  return pairs === userProperties ? (properties as MessageProperties) : { ...properties, userProperties: pairs };
}

/**
 * Returns the pairs.
 * @throws HawserError `BAD_PROPERTY`
 */
export function checkUserProperties(given: GivenUserProperties): UserProperties {
  const pairs = Array.isArray(given) ? (given as UserProperties) : pairsOf(given as Readonly<Record<string, string | readonly string[]>>);
  for (const pair of pairs as readonly unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2) throw noPairs();
    checkString("userProperties", pair[0] as string);
    checkString("userProperties", pair[1] as string);
  }
  return pairs;
}

function noPairs(): HawserError {
  return badProperty("userProperties", "must be a list of [name, value] pairs or an object of strings");
}

function pairsOf(given: Readonly<Record<string, string | readonly string[]>>): UserProperties {
  if (typeof given !== "object" || given === null) throw noPairs();
  const pairs: (readonly [string, string])[] = [];
  for (const [name, values] of Object.entries(given)) {
    for (const value of Array.isArray(values) ? (values as readonly string[]) : [values as string]) pairs.push([name, value]);
  }
  return pairs;
}

/** @throws HawserError `BAD_PROPERTY` */
export function checkSeconds(name: string, seconds: number): void {
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 0xffff_ffff)
    throw badProperty(name, "must be a whole number of seconds from 0 to 4294967295");
}

/** @throws HawserError `BAD_PROPERTY` */
export function checkString(name: string, text: string): void {
  if (typeof text !== "string" || utf8Length(text) > MAX_FIELD_BYTES) throw badProperty(name, "must be a string of at most 65535 bytes");
  const problem = unfitText(text);
  if (problem !== undefined) throw badProperty(name, problem);
}

function badProperty(name: string, what: string): HawserError {
  return new HawserError("BAD_PROPERTY", `the MQTT property ${name} ${what}`, "See MQTT 5.0, section 2.2.2.");
}
