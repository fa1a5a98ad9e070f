/** The SDK's ports on the XS host: clock, timers, random numbers, TCP, records. TLS and keys come from the firmware's native parts. */
import type { ByteStream, ByteStreamHandlers, ByteStreamOpener } from "../../firmware/tls/byte-stream.js";
import { engineChainVerifier } from "../../firmware/tls/engine-chain-verifier.js";
import { TlsDialer, type TlsDialerOptions } from "../../firmware/tls/tls-dialer.js";
import type { TlsEngines } from "../../firmware/tls/tls-engine.js";
import { failure, type Failure, type FailureCode } from "../../sdk/failure.js";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import { TrustedTime } from "../../sdk/identity/trusted-time.js";
import type { ChainVerifier, Clock, KeyStore, Log, Platform, Random, Scheduler, Storage } from "../../sdk/platform.js";
import * as host from "./host-natives.js";

export interface XsPlatformOptions extends TlsDialerOptions {
  keyStore: KeyStore;
  /** Left out, only plaintext can be dialled. */
  tls?: TlsEngines;
  log?: Log;
  /** Default: trusted, as an operating system's is. */
  wallTrusted?: boolean;
  /** When the program was built, milliseconds since the Unix epoch. */
  buildTimeMs?: number;
}

export function xsPlatform(options: XsPlatformOptions): Platform {
  const clock: Clock = { monotonicMs: host.monotonicMs, wallMs: host.wallMs, wallTrusted: () => options.wallTrusted ?? true };
  const storage = fileStorage;
  const time = new TrustedTime(clock, storage, options.buildTimeMs ?? 0);
  const parts = {
    opener: tcpOpener,
    scheduler: hostScheduler,
    trustedTimeMs: () => time.nowMs(),
    ...(options.tls && { tls: options.tls }),
  };
  return {
    clock,
    scheduler: hostScheduler,
    random: systemRandom,
    dialer: new TlsDialer(parts, options),
    keyStore: options.keyStore,
    chains: options.tls ? engineChainVerifier(options.tls) : nobody,
    storage,
    log: options.log ?? ((): void => undefined),
  };
}

/** Without an engine there is nothing to judge by. */
const nobody: ChainVerifier = { leadsTo: () => false };

export const hostScheduler: Scheduler = {
  after(delayMs, run) {
    const id = host.setTimer(delayMs, run);
    return () => host.clearTimer(id);
  },
};

export const systemRandom: Random = {
  bytes: (sizeBytes) => new Uint8Array(host.randomBytes(sizeBytes)),
  fraction: () => Math.random(),
};

/** Records as files of the host's `--storage` directory, each put atomic and durable. */
export const fileStorage: Storage = {
  get(key) {
    const bytes = stored(() => host.getRecord(key));
    return bytes === undefined ? undefined : new Uint8Array(bytes);
  },
  put: (key, value) => stored(() => host.putRecord(key, value)),
  delete: (key) => stored(() => host.deleteRecord(key)),
  list: (prefix) =>
    stored(() => host.listRecords())
      .filter((key) => key.startsWith(prefix))
      .sort(),
};

/** The host's errors start with the system's name for what went wrong. */
function stored<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const message = errorMessage(error);
    const full = /^(ENOSPC|EDQUOT|EFBIG)/.test(message);
    throw new HawserError(
      full ? "STORAGE_FULL" : "STORAGE_FAILED",
      `a record could not be written or read: ${message}`,
      "Check the host's --storage directory.",
    );
  }
}

const CODE_OF_ERROR: Readonly<Record<string, FailureCode>> = {
  ENOTFOUND: "DNS_FAILED",
  ECONNREFUSED: "CONNECTION_REFUSED",
  ETIMEDOUT: "CONNECT_TIMEOUT",
  ECONNRESET: "CONNECTION_RESET",
  EPIPE: "CONNECTION_RESET",
};

/** TCP through the host's poll loop, to any of a name's addresses, IPv4 first. */
export const tcpOpener: ByteStreamOpener = {
  open(address, port, handlers, turn): ByteStream {
    const place = `${address}:${port}`;
    const id = host.openTcp(address, port, (event, value) => report(handlers, place, event, value), turn);
    return {
      write: (bytes) => host.writeTcp(id, bytes),
      pause: () => host.pauseTcp(id, true),
      resume: () => host.pauseTcp(id, false),
      close: () => host.closeTcp(id),
    };
  },
};

function report(handlers: ByteStreamHandlers, place: string, event: number, value: ArrayBuffer | string | undefined): void {
  switch (event) {
    case host.TCP_OPENED:
      return handlers.opened();
    case host.TCP_DATA:
      return handlers.data(new Uint8Array(value as ArrayBuffer));
    case host.TCP_WRITABLE:
      return handlers.writable();
    default:
      return handlers.ended(streamFailure(place, value as string | undefined));
  }
}

function streamFailure(place: string, error: string | undefined): Failure {
  if (error === undefined) return failure("CONNECTION_CLOSED", `${place} closed the connection`);
  return failure(CODE_OF_ERROR[error] ?? "HOST_UNREACHABLE", `no connection with ${place} (${error})`);
}
