/** All the ports of the SDK on Node, put together. */
import type { Log, Platform, Scheduler, Storage, KeyStore } from "../../sdk/platform.js";
import { nodeChainVerifier } from "./node-chain-verifier.js";
import { nodeClock } from "./node-clock.js";
import { KeptTicket } from "./kept-tls-ticket.js";
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
  /**
   * Keeps the TLS session when the client leaves (`stop`, `deliver`), so that the next process resumes it: for devices that sleep or often
   * restart. `true` keeps it with the other records; a storage of its own may be memory that outlives the sleep. Default false.
   */
  keepSessions?: boolean | Storage;
} & (
    | {
        /** A {@link Vault}, which the caller closes. */
        vault: { keyStore: KeyStore & LinkKeys; storage: Storage };
      }
    | { keyStore: KeyStore & LinkKeys; storage: Storage }
  );

export function nodePlatform(options: NodePlatformOptions): Platform {
  const { keyStore, storage } = "vault" in options ? options.vault : options;
  const { keepSessions = false, log = (): void => undefined } = options;
  const shelf = keepSessions === true ? storage : keepSessions;
  const kept = shelf === false ? undefined : new KeptTicket({ keyStore, storage: shelf, random: nodeRandom, log });
  return {
    clock: nodeClock,
    scheduler: options.scheduler ?? nodeScheduler(),
    random: nodeRandom,
    dialer: new NodeDialer(keyStore, options, kept),
    keyStore,
    chains: nodeChainVerifier,
    storage,
    log,
  };
}
