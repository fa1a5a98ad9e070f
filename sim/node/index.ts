/** The public face of `hawser/node`: the SDK's platform for gateways, tools and simulated devices on Node. */
export { nodePlatform, type NodePlatformOptions } from "./node-platform.js";
export { Vault } from "./vault/vault.js";
export { memoryKeyStore, memoryStorage } from "./memory-stores.js";
export { NodeDialer, type NodeDialerOptions } from "./node-dialer.js";
export { nodeClock } from "./node-clock.js";
export { nodeScheduler } from "./node-scheduler.js";
export { nodeRandom } from "./node-random.js";
