/** Whether properties given by an application can be written at all (MQTT 5.0, sections 1.5 and 3.3.2.3). */
import { HawserError } from "../errors.js";
import type { MessageProperties, UserProperties } from "./codec/packet-types.js";
import { checkTopic } from "./topics.js";
import { utf8Length } from "../encoding/utf8.js";
import { unfitText } from "./text-check.js";

const MAX_FIELD_BYTES = 65_535;
const KNOWN: readonly string[] = ["payloadFormatIndicator", "messageExpiryInterval", "contentType", "responseTopic", "correlationData", "userProperties"];

/** @throws HawserError `BAD_PROPERTY`, `INVALID_TOPIC` (of the response) */
export function checkMessageProperties(properties: MessageProperties): void {
  for (const name in properties) if (!KNOWN.includes(name)) throw badProperty(name, "is none of a message");
  const { messageExpiryInterval: expiry, contentType, responseTopic, correlationData, userProperties } = properties;
  if (expiry !== undefined) checkSeconds("messageExpiryInterval", expiry);
  if (contentType !== undefined) checkString("contentType", contentType);
  if (responseTopic !== undefined) checkTopic(responseTopic);
  if (correlationData !== undefined && correlationData.length > MAX_FIELD_BYTES) throw badProperty("correlationData", "is longer than 65535 bytes");
  if (userProperties !== undefined) checkUserProperties(userProperties);
}

/** @throws HawserError `BAD_PROPERTY` */
export function checkUserProperties(pairs: UserProperties): void {
  for (const [name, value] of pairs) {
    checkString("userProperties", name);
    checkString("userProperties", value);
  }
}

/** @throws HawserError `BAD_PROPERTY` */
export function checkSeconds(name: string, seconds: number): void {
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 0xffff_ffff) throw badProperty(name, "is not a whole number of seconds from 0 to 4294967295");
}

/** @throws HawserError `BAD_PROPERTY` */
export function checkString(name: string, text: string): void {
  if (typeof text !== "string" || utf8Length(text) > MAX_FIELD_BYTES) throw badProperty(name, "is no text, or is longer than 65535 bytes");
  const problem = unfitText(text);
  if (problem !== undefined) throw badProperty(name, problem);
}

function badProperty(name: string, what: string): HawserError {
  return new HawserError("BAD_PROPERTY", `the MQTT property ${name} ${what}`, "See MQTT 5.0, section 2.2.2.");
}
