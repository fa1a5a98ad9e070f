/** The SUBSCRIBE packet that follows from an application's options (MQTT 5.0, section 3.8), and their checks. */
import { HawserError } from "../../errors.js";
import { checkUserProperties } from "../check-properties.js";
import type { ProtocolVersion, SubscribePacket, SubscriptionFields } from "../codec/packet-types.js";
import type { SubscribeOptions } from "../options.js";
import { isShared } from "../topics.js";

export type ResolvedSubscribeOptions = SubscribeOptions & Required<Pick<SubscribeOptions, "qos" | "manualAck" | "bufferSize" | "bufferBytes">>;

/** @param again the broker has granted it before */
export function subscribePacket(
  messageId: number,
  filter: string,
  options: ResolvedSubscribeOptions,
  subscriptionIdentifier: number | undefined,
  version: ProtocolVersion,
  again: boolean,
): SubscribePacket {
  const fields: SubscriptionFields = { topic: filter, qos: options.qos };
  const packet: SubscribePacket = { cmd: "subscribe", messageId, subscriptions: [fields] };
  if (version !== 5) return packet;
  if (options.noLocal === true) fields.nl = true;
  if (options.retainAsPublished === true) fields.rap = true;
  // Asking again is no reason to send retained messages again.
  const retainHandling = again && options.retainHandling !== 2 ? 1 : options.retainHandling;
  if (retainHandling !== undefined) fields.rh = retainHandling;
  const { userProperties } = options;
  if (subscriptionIdentifier !== undefined || userProperties !== undefined) {
    packet.properties = { ...(subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier }), ...(userProperties && { userProperties }) };
  }
  return packet;
}

/** @param filter undefined: none is sent to the broker. @throws HawserError `BAD_OPTION`, `BAD_PROPERTY` */
export function resolveSubscribeOptions(options: SubscribeOptions, filter?: string): ResolvedSubscribeOptions {
  const { qos = 0, manualAck = false, bufferSize = 4_096, bufferBytes = 262_144, subscriptionIdentifier: identifier } = options;
  if (options.userProperties !== undefined) checkUserProperties(options.userProperties);
  const isValid =
    (identifier === undefined || (Number.isInteger(identifier) && identifier >= 1 && identifier <= 268_435_455)) &&
    (qos === 0 || qos === 1 || qos === 2) &&
    // Brokers disconnect for it (MQTT 5.0, section 3.8.3.1), and it would be asked for again on each connection.
    (options.noLocal !== true || filter === undefined || !isShared(filter)) &&
    bufferSize >= 1 &&
    bufferBytes >= 1;
  if (isValid) return { ...options, qos, manualAck, bufferSize, bufferBytes };
  throw new HawserError("BAD_OPTION", "an option of subscribe is out of its range", "See SubscribeOptions for what is possible.");
}
