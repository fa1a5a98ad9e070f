/**
 * The public face of `hawser/node`: the SDK's platform for gateways, tools and simulated devices on Node.
 * @module hawser/node
 */
export { nodePlatform, type NodePlatformOptions } from "./node-platform.js";
export { Vault, type NewVaultOptions, type StagedVault } from "./vault/vault.js";
export type { VaultKey } from "./vault/vault-files.js";
export type { KeyDerivation, ScryptCost } from "./vault/sealed.js";
export type { LinkKeys } from "./node-key-store.js";
export { memoryKeyStore, memoryStorage, type MemoryKeyStore } from "./memory-stores.js";
export { NodeDialer, type NodeDialerOptions } from "./node-dialer.js";
export { KeptTicket, type TlsTicket } from "./kept-tls-ticket.js";
export type { KeptSessionParts } from "../../sdk/sleep/kept-tls-session.js";
export { estEnrolment, provisionByEst, type EstEnrolmentOptions, type EstProvisioning } from "./est/est-enrolment.js";
export { fleetEnrolment, provisionByClaim, type FleetEnrolmentOptions, type FleetProvisioning } from "./aws/fleet-enrolment.js";
export type { FleetTemplate } from "./aws/fleet-exchange.js";
export { EstRefusal } from "./est/est-errors.js";
export type { EstLogin, EstServer } from "./est/est-client.js";
export { nodeClock } from "./node-clock.js";
export { nodeScheduler } from "./node-scheduler.js";
export { nodeRandom } from "./node-random.js";
export { MqttClient, type UrlClientOptions } from "./url-client.js";
export type { UrlTlsOptions } from "./url-link.js";
