/** A message as a broker passes it on. */
import type { Properties } from "../wire/wire-properties.js";
import type { Qos } from "../wire/wire-packets.js";

export interface Message {
  topic: string;
  payload: Uint8Array;
  qos: Qos;
  retain: boolean;
  properties: Properties;
  /** When it reached the broker, milliseconds of world time. */
  atMs: number;
}

/** True once its message expiry interval (MQTT 5.0 section 3.3.2.3.3) has passed. */
export function expired(message: Message, nowMs: number): boolean {
  const seconds = message.properties.messageExpiryInterval;
  return seconds !== undefined && nowMs >= message.atMs + seconds * 1_000;
}

/** Whether `topic` falls under `filter` (MQTT 5.0 section 4.7). */
export function matches(filter: string, topic: string): boolean {
  if (!filter.includes("#") && !filter.includes("+")) return filter === topic;
  const wanted = filter.split("/");
  const given = topic.split("/");
  if (topic.startsWith("$") && (wanted[0] === "#" || wanted[0] === "+")) return false;
  for (let level = 0; level < wanted.length; level++) {
    if (wanted[level] === "#") return true;
    if (given[level] === undefined || (wanted[level] !== "+" && wanted[level] !== given[level])) return false;
  }
  return wanted.length === given.length;
}
