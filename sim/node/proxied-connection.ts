/** What every kind of proxy has in common: a connection through it, its login, and how it fails. */
import type { Socket } from "node:net";
import { failure, type Failure } from "../../sdk/failure.js";
import { linkFailure } from "./tls-failure.js";

/** Why a proxy leads nowhere. It says nothing about a broker, a certificate or a login there: always a fault of the network. */
export class ProxyFault extends Error {
  constructor(readonly reason: Failure) {
    super(reason.message);
  }
}

/** One way through a proxy. */
export interface ProxiedConnection {
  /** Leads to the broker. Rejects with {@link ProxyFault}. */
  readonly socket: Promise<Socket>;
  /** Waits for it no longer. */
  giveUp(): void;
}

/** Leads where a program may not go by itself. It sees where a link goes, and what TLS leaves open. */
export interface OutboundProxy {
  /** @param target `host:port` of the broker, for the proxy to resolve */
  open(target: string): ProxiedConnection;
}

/** Empty where nobody signs in. Never shown. */
export interface ProxyLogin {
  readonly user: string;
  readonly password: string;
}

/** The fault of a proxy that cannot be reached. @param authority `host:port` */
export function unreachable(authority: string, error: Error): Failure {
  const context = { address: `the proxy ${authority}`, shown: "no-certificate", opened: false, isServerProved: false } as const;
  const found = linkFailure(error, context);
  // Its certificate is not the broker's.
  return found.class === "network" ? found : failure("TLS_FAILED", found.message);
}
