/** The public face of `hawser/sim`: the SDK's platform on Node, and brokers to try a device against. */
export { nodePlatform, type NodePlatformOptions } from "./node/platform.js";
export { Vault } from "./node/vault.js";
export { memoryKeyStore, memoryStorage } from "./node/memory.js";
export { NodeDialer } from "./node/dialer.js";
export { nodeClock } from "./node/clock.js";
export { nodeScheduler } from "./node/scheduler.js";
export { nodeRandom } from "./node/random.js";
export { EmbeddedBroker, type EmbeddedBrokerOptions } from "./brokers/embedded.js";
export type { BrokerEvent, BrokerLimits, BrokerMaterial } from "./brokers/broker-events.js";
export { startMosquitto, type MosquittoOptions, type RunningMosquitto } from "./brokers/mosquitto.js";
export { freePorts } from "./brokers/free-port.js";
