/** The public face of `hawser/sim`: brokers to try a device against, and everything of `hawser/node` so that a test needs one import. */
export * from "./node/index.js";
export { EmbeddedBroker, type EmbeddedBrokerOptions } from "./brokers/embedded-broker.js";
export type {
  BrokerEvent,
  BrokerLimits,
  BrokerMaterial,
  CredentialReason,
  EndReason,
  PortKind,
  QuestionDetails,
  RefusalReason,
  Scope,
  Who,
} from "./brokers/broker-events.js";
export { startMosquitto, type MosquittoExit, type MosquittoOptions, type RunningMosquitto } from "./brokers/mosquitto-launcher.js";
export { freePorts } from "./brokers/free-port.js";
export type { BrokerSessions } from "./brokers/session-store.js";
