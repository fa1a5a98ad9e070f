/**
 * The public face of `hawser`: what an application on a device needs.
 * @module hawser
 */
export { Device, type DeviceConfig, type DeviceStatus, type DeviceTopic, type PasswordCredential } from "./device/device.js";
export type { Delivery, DeliveryOptions, DeliveryOutcome, DeliveryReport } from "./device/delivery.js";
export type { BrokerPreset, ConfiguredDevice, Wanted } from "./presets/broker-preset.js";
export type { Program, ProgramParts } from "./device/program.js";
export type { DeviceEvent, DeviceListener, Rung } from "./events.js";
export { HawserError } from "./errors.js";
export type { ErrorCode, RefusalCode, SdkErrorCode, ToolErrorCode } from "./error-codes.js";
export type { Failure, FailureClass, FailureCode } from "./failure.js";
export type { BackoffPolicy } from "./backoff.js";
export type {
  AbortSignalLike,
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
} from "./mqtt/contract/options.js";
export type { MqttStatistics } from "./mqtt/contract/mqtt-events.js";
export type { Message, Subscription } from "./mqtt/contract/incoming-messages.js";
export type { GivenMessageProperties, GivenUserProperties } from "./mqtt/contract/check-properties.js";
export type { MessageProperties, Properties, PublishProperties, QoS, UserProperties } from "./mqtt/codec/packet-types.js";
export type { RecoveryPatience } from "./supervisor/credential-ladder.js";
export type { Login } from "./supervisor/supervisor.js";
export { certificatePassword, type ShownCertificate } from "./identity/certificate-password.js";
export type { TokenOptions } from "./identity/token.js";
export type { CurrentIdentity, Enrolment, EnrolmentReply } from "./identity/enrolment-port.js";
export type { EnrolmentError } from "./identity/enrolment.js";
export type { DeviceTopics } from "./identity/device-topics.js";
export { installIdentity, type DeviceRecord, type InstalledIdentity, type Salts } from "./identity/store.js";
export type {
  Cancel,
  ChainVerifier,
  Clock,
  Credential,
  Dialer,
  Endpoint,
  KeyStore,
  Link,
  LinkHandlers,
  LinkInfo,
  Log,
  LogLevel,
  Network,
  Platform,
  Random,
  Scheduler,
  Storage,
} from "./platform.js";
