/** The SUBSCRIBE packet that follows from an application's options (MQTT 5.0, section 3.8), and their checks. */
import { anything, checkOptions, flag, oneOf, whole, type Rules } from "../../checks/option-rules.js";
import { checkUserProperties } from "../contract/check-properties.js";
import type { ProtocolVersion, SubscribePacket, SubscriptionFields, UserProperties } from "../codec/packet-types.js";
import { badOption, signal, type SubscribeOptions } from "../contract/options.js";
import { isShared } from "../contract/topics.js";

export type ResolvedSubscribeOptions = Omit<SubscribeOptions, "userProperties"> & { userProperties?: UserProperties } & Required<
    Pick<SubscribeOptions, "qos" | "manualAck" | "bufferSize" | "bufferBytes">
  >;

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
    packet.properties = {
      ...(subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier }),
      ...(userProperties && { userProperties }),
    };
  }
  return packet;
}

const SUBSCRIBE: Rules<SubscribeOptions> = {
  qos: oneOf(0, 1, 2),
  noLocal: flag,
  retainAsPublished: flag,
  retainHandling: oneOf(0, 1, 2),
  subscriptionIdentifier: whole(1, 268_435_455),
  userProperties: anything,
  signal,
  manualAck: flag,
  bufferSize: whole(1, Number.MAX_SAFE_INTEGER),
  bufferBytes: whole(1, Number.MAX_SAFE_INTEGER),
};

/** @param filter undefined: none is sent to the broker. @throws HawserError `BAD_OPTION`, `BAD_PROPERTY` */
export function resolveSubscribeOptions(options: SubscribeOptions, filter?: string): ResolvedSubscribeOptions {
  checkOptions(options, SUBSCRIBE, badOption);
  const { userProperties, ...others } = options;
  // Brokers disconnect for it (MQTT 5.0, section 3.8.3.1), and it would be asked for again on each connection.
  if (options.noLocal === true && filter !== undefined && isShared(filter))
    throw badOption("noLocal", "must be false for a shared subscription");
  const { qos = 0, manualAck = false, bufferSize = 4_096, bufferBytes = 262_144 } = options;
  return {
    ...others,
    qos,
    manualAck,
    bufferSize,
    bufferBytes,
    ...(userProperties !== undefined && { userProperties: checkUserProperties(userProperties) }),
  };
}
