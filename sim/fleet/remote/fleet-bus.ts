/** What a fleet on many machines talks over: a NATS server, encrypted unless it is on this machine. */
import { isIP } from "node:net";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { hostPort } from "../../node/host-port.js";
import { natsDriver, type NatsConnection, type NatsDriver } from "./nats-driver.js";

export interface BusOptions {
  readonly url: NatsUrl;
  readonly name: string;
  /** PEM of the CA that the server's certificate comes from; without it, the system's. */
  readonly caPem?: string;
  /** Text of a `.creds` file, or a token. */
  readonly credentials?: string;
}

export interface NatsUrl {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

const NEXT = "Use tls://HOST:PORT; nats://HOST:PORT is for a server on this machine alone.";

/** @throws HawserError `BAD_URL`, `NATS_EXPOSED` for plaintext to another machine */
export function parseNatsUrl(text: string): NatsUrl {
  const shown = JSON.stringify(text.replace(/\/\/[^/@]*@/, "//***@"));
  if (text.includes("@"))
    throw new HawserError("BAD_URL", `${shown} holds credentials, which every user of this machine could read`, "Use --nats-credentials.");
  const match = /^(nats|tls):\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::(\d{1,5}))?\/?$/.exec(text);
  const host = match?.[2]?.replace(/^\[|\]$/g, "");
  const port = Number(match?.[3] ?? 4222);
  if (host === undefined || !(port >= 1 && port <= 65_535)) throw new HawserError("BAD_URL", `invalid NATS URL ${shown}`, NEXT);
  const isTls = match?.[1] === "tls";
  if (!isTls && !isHere(host))
    throw new HawserError("NATS_EXPOSED", `${shown} is plaintext to another machine: whoever is between could command the fleet`, NEXT);
  return { host, port, isTls };
}

function isHere(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Bytes to and from subjects. Core NATS delivers at most once: what is lost is noticed by those who talk (`fleet-wire.ts`). */
export interface FleetBus {
  publish(subject: string, data: Uint8Array): void;
  /** @returns a function that ends it */
  subscribe(subject: string, heard: (data: Uint8Array, respond: (data: Uint8Array) => void, subject: string) => void): () => void;
  /** @throws HawserError `NATS_UNREACHABLE` when nobody answers in time */
  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** What was published is with the server. */
  flush(): Promise<void>;
  /** Settles when the connection is over for good. */
  readonly closed: Promise<string>;
  close(): Promise<void>;
}

/** A server that restarts is back by then. */
const AWAY_SECONDS = 60;

/** @throws HawserError `NATS_MISSING`, `NATS_UNREACHABLE` */
export async function connectBus({ url, name, caPem, credentials }: BusOptions, driver: NatsDriver = natsDriver()): Promise<FleetBus> {
  const place = hostPort(url);
  const signIn =
    credentials === undefined
      ? undefined
      : credentials.includes("BEGIN NATS USER JWT")
        ? driver.credsAuthenticator(new TextEncoder().encode(credentials))
        : driver.tokenAuthenticator(credentials.trim());
  let connection: NatsConnection;
  try {
    connection = await driver.connect({
      servers: place,
      name,
      // Null forbids TLS; an object demands it. The client names no host that is an address, and Node would check another.
      tls: url.isTls ? { host: url.host, ...(caPem === undefined ? {} : { ca: caPem }) } : null,
      ...(signIn === undefined ? {} : { authenticator: signIn }),
      maxReconnectAttempts: AWAY_SECONDS,
      reconnectTimeWait: 1_000,
      timeout: 10_000,
      ignoreClusterUpdates: true,
    });
  } catch (error) {
    throw unreachable(place, errorMessage(error));
  }
  return {
    publish: (subject, data) => connection.publish(subject, data),
    subscribe: (subject, heard) => {
      const subscription = connection.subscribe(subject, {
        callback: (error, message) => {
          if (!error) heard(message.data, (data) => void message.respond(data), message.subject);
        },
      });
      return () => subscription.unsubscribe();
    },
    request: async (subject, data, timeoutMs) => {
      try {
        return (await connection.request(subject, data, { timeout: timeoutMs })).data;
      } catch (error) {
        throw unreachable(`${subject} on ${place}`, errorMessage(error));
      }
    },
    flush: () => connection.flush(),
    closed: connection.closed().then((error) => (error instanceof Error ? error.message : "closed")),
    close: () => connection.close(),
  };
}

function unreachable(what: string, why: string): HawserError {
  return new HawserError(
    "NATS_UNREACHABLE",
    `no answer from ${what}: ${why}`,
    "Check the address, --nats-ca and --nats-credentials, and that nats-server runs.",
  );
}
