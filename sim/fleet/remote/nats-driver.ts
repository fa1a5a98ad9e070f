/** The client of NATS: the optional package `@nats-io/transport-node`, loaded when it is used. */
import { createRequire } from "node:module";
import { HawserError } from "../../../sdk/errors.js";

export interface NatsMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Answers a request. @returns whether it was one */
  respond(data: Uint8Array): boolean;
}

export interface NatsConnection {
  publish(subject: string, data: Uint8Array): void;
  subscribe(subject: string, options: { callback: (error: Error | null, message: NatsMessage) => void }): { unsubscribe(): void };
  request(subject: string, data: Uint8Array, options: { timeout: number }): Promise<NatsMessage>;
  flush(): Promise<void>;
  close(): Promise<void>;
  /** Settles once it is over for good, with the reason where there is one. */
  closed(): Promise<unknown>;
}

export interface NatsOptions {
  readonly servers: string;
  readonly name: string;
  readonly tls: { readonly host: string; readonly ca?: string } | null;
  readonly authenticator?: unknown;
  readonly maxReconnectAttempts: number;
  readonly reconnectTimeWait: number;
  readonly timeout: number;
  readonly ignoreClusterUpdates: boolean;
}

export interface NatsDriver {
  connect(options: NatsOptions): Promise<NatsConnection>;
  credsAuthenticator(creds: Uint8Array): unknown;
  tokenAuthenticator(token: string): unknown;
}

/** As in package.json's optionalDependencies. */
export const NATS_PACKAGE = "@nats-io/transport-node@3.3.1";

/**
 * @param load gives a module by its name, or throws
 * @throws HawserError `NATS_MISSING`
 */
export function natsDriver(load: (name: string) => unknown = createRequire(import.meta.url)): NatsDriver {
  try {
    return load("@nats-io/transport-node") as NatsDriver;
  } catch {
    throw new HawserError(
      "NATS_MISSING",
      "the optional package @nats-io/transport-node is not installed",
      `Install it where hawser is installed: npm install ${NATS_PACKAGE}`,
    );
  }
}
