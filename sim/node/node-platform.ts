/** All the ports of the SDK on Node, put together. */
import type { Log, Platform, Scheduler, Storage, KeyStore } from "../../sdk/platform.js";
import { nodeChainVerifier } from "./node-chain-verifier.js";
import { nodeClock } from "./node-clock.js";
import { NodeDialer } from "./node-dialer.js";
import type { NodeDialerOptions } from "./node-dialer.js";
import type { LinkKeys } from "./node-key-store.js";
import { nodeRandom } from "./node-random.js";
import { nodeScheduler } from "./node-scheduler.js";

export type NodePlatformOptions = NodeDialerOptions & {
  /** Default: says nothing. */
  log?: Log;
  /** Default: timers of the event loop. */
  scheduler?: Scheduler;
} & (
    | {
        /** A {@link Vault}, which the caller closes. */
        vault: { keyStore: KeyStore & LinkKeys; storage: Storage };
      }
    | { keyStore: KeyStore & LinkKeys; storage: Storage }
  );

export function nodePlatform(options: NodePlatformOptions): Platform {
  const { keyStore, storage } = "vault" in options ? options.vault : options;
  return {
    clock: nodeClock,
    scheduler: options.scheduler ?? nodeScheduler(),
    random: nodeRandom,
    dialer: new NodeDialer(keyStore, options),
    keyStore,
    chains: nodeChainVerifier,
    storage,
    log: options.log ?? ((): void => undefined),
  };
}
