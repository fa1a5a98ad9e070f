/** The CONNECT packet that follows from the options (MQTT 5.0, section 3.1). */
import { checkMessageProperties, checkUserProperties } from "../contract/check-properties.js";
import { toBytes, type ResolvedOptions, type Will } from "../contract/options.js";
import type { ConnectPacket, Properties, ProtocolVersion, WillFields } from "../codec/packet-types.js";

/** CONNECT without its defaults: what the specification lets be left out is left out. */
export function connectPacket(options: ResolvedOptions, clientId: string, authenticationData: Uint8Array | undefined): ConnectPacket {
  const { protocolVersion, username, password, will } = options;
  const packet: ConnectPacket = {
    cmd: "connect",
    protocolVersion,
    clientId,
    clean: options.cleanStart,
    keepalive: options.keepAliveSeconds,
  };
  if (username !== undefined) packet.username = username;
  if (password !== undefined) packet.password = toBytes(password);
  if (will !== undefined) packet.will = willFields(will, protocolVersion);
  if (protocolVersion === 5) packet.properties = connectProperties(options, authenticationData);
  return packet;
}

/** What is asked for where the application does not care. */
const RECEIVE_MAXIMUM = 64;

function connectProperties(options: ResolvedOptions, authenticationData: Uint8Array | undefined): Properties {
  const { sessionExpirySeconds, receiveMaximum = RECEIVE_MAXIMUM, topicAliasMaximum, authentication } = options;
  const { userProperties, ...others } = options.connectProperties ?? {};
  return {
    ...(sessionExpirySeconds > 0 && { sessionExpiryInterval: sessionExpirySeconds }),
    ...(receiveMaximum < 65_535 && { receiveMaximum }),
    ...(options.announceMaximumPacketSize !== false && { maximumPacketSize: options.maximumPacketSizeBytes }),
    ...(topicAliasMaximum > 0 && { topicAliasMaximum }),
    ...others,
    ...(userProperties !== undefined && { userProperties: checkUserProperties(userProperties) }),
    ...(authentication !== undefined && { authenticationMethod: authentication.method }),
    ...(authenticationData !== undefined && { authenticationData }),
  };
}

function willFields(will: Will, version: ProtocolVersion): WillFields {
  const fields: WillFields = { topic: will.topic, payload: toBytes(will.payload), qos: will.qos ?? 0, retain: will.retain ?? false };
  if (version !== 5) return fields;
  const properties: Properties = {
    ...(will.delaySeconds !== undefined && will.delaySeconds > 0 && { willDelayInterval: will.delaySeconds }),
    ...(will.properties && checkMessageProperties(will.properties)),
  };
  return { ...fields, properties };
}
