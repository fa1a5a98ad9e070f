/** The public face of `hawser/sim`: the SDK's platform on Node, and brokers to try a device against. */
export { nodePlatform, type NodePlatformOptions } from "./node/node-platform.js";
export { Vault } from "./node/vault/vault.js";
export { memoryKeyStore, memoryStorage } from "./node/memory-stores.js";
export { NodeDialer } from "./node/node-dialer.js";
export { nodeClock } from "./node/node-clock.js";
export { nodeScheduler } from "./node/node-scheduler.js";
export { nodeRandom } from "./node/node-random.js";
export { EmbeddedBroker, type EmbeddedBrokerOptions } from "./brokers/embedded-broker.js";
export type { BrokerEvent, BrokerLimits, BrokerMaterial } from "./brokers/broker-events.js";
export { startMosquitto, type MosquittoOptions, type RunningMosquitto } from "./brokers/mosquitto-launcher.js";
export { freePorts } from "./brokers/free-port.js";
