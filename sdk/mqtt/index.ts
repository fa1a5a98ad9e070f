/**
 * The public face of `hawser/mqtt`: an MQTT client for 3.1.1 and 5.0 that stands on its own, over any `Link`.
 * @module hawser/mqtt
 */
export { MqttClient } from "./client.js";
export type { Connack, MqttPlatform } from "./session-driver.js";
export { ConnectError, RefusedError } from "./contract/connect-error.js";
export type { MqttEvent, MqttListener, MqttStatistics } from "./contract/mqtt-events.js";
export type {
  AbortSignalLike,
  ConnectProperties,
  DisconnectOptions,
  EnhancedAuthentication,
  MqttOptions,
  OutboxMessage,
  OutboxOptions,
  OverflowPolicy,
  PublishOptions,
  PublishResult,
  SubscribeOptions,
  UnclaimedOptions,
  UnsubscribeOptions,
  UnsubscribeResult,
  Will,
} from "./contract/options.js";
export type { GivenMessageProperties, GivenUserProperties } from "./contract/check-properties.js";
export type { Wear } from "./session/stored-journal.js";
export type { MessageProperties, Properties, ProtocolVersion, PublishProperties, QoS, UserProperties } from "./codec/packet-types.js";
export type { RequestOptions, Requester, RequesterOptions } from "./requester.js";
export type { Message, Subscription } from "./contract/incoming-messages.js";
export { HawserError } from "../errors.js";
export type { ErrorCode, RefusalCode, SdkErrorCode, ToolErrorCode } from "../error-codes.js";
export type { Failure, FailureClass, FailureCode } from "../failure.js";
export type { Cancel, Clock, Link, LinkHandlers, LinkInfo, Log, LogLevel, Random, Scheduler, Storage } from "../platform.js";
