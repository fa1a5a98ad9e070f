/** The public face of `hawser`: what an application on a device needs. */
export { Device, type DeviceConfig, type DeviceStatus } from "./device/device.js";
export type { DeviceEvent, DeviceListener } from "./events.js";
export { HawserError } from "./errors.js";
export type { Failure, FailureClass, FailureCode } from "./failure.js";
export type { BackoffPolicy } from "./backoff.js";
export type { OutboxMessage, OutboxOptions, PublishOptions, PublishResult, SubscribeOptions, UnclaimedOptions, UnsubscribeOptions, UnsubscribeResult, Will } from "./mqtt/contract/options.js";
export type { Message, Subscription } from "./mqtt/session/message-stream.js";
export { installIdentity, type InstalledIdentity } from "./identity/store.js";
export type { Cancel, Clock, Credential, Dialer, Endpoint, KeyStore, Link, LinkHandlers, LinkInfo, Log, LogLevel, Platform, Random, Scheduler, Storage } from "./platform.js";
