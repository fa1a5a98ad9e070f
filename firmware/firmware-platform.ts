/** The SDK's platform on Moddable: what every board has in common, put together from parts that a board file brings. */
import type { Failure } from "../sdk/failure.js";
import { TrustedTime } from "../sdk/identity/trusted-time.js";
import type { Dialer, KeyStore, Log, Platform, Random, Scheduler, Storage } from "../sdk/platform.js";
import type { ByteStreamOpener } from "./tls/byte-stream.js";
import { DeviceClock, type DeviceClockParts } from "./io/device-clock.js";
import type { ResolveName, TcpConstructor, TimerModule } from "./io/ecma419.js";
import { NameResolver } from "./io/name-resolver.js";
import { tcpStreamOpener } from "./io/tcp-stream.js";
import { timerScheduler } from "./io/timer-scheduler.js";
import { engineChainVerifier } from "./tls/engine-chain-verifier.js";
import { TlsDialer, type TlsDialerOptions } from "./tls/tls-dialer.js";
import type { TlsEngines } from "./tls/tls-engine.js";

export interface FirmwareParts<Timer> {
  TCP: TcpConstructor;
  resolveName: ResolveName;
  timers: TimerModule<Timer>;
  clock: DeviceClockParts;
  random: Random;
  storage: Storage;
  keyStore: KeyStore;
  tls: TlsEngines;
  log: Log;
  /** When the program was built, milliseconds since the Unix epoch; 0 when unknown. */
  buildTimeMs: number;
  tlsOptions?: TlsDialerOptions;
}

export interface FirmwarePlatform extends Platform {
  clock: DeviceClock;
  scheduler: Scheduler;
  resolver: NameResolver;
  /** A time known to have passed (build, flash) that owes nothing to the wall clock: what SNTP's answers are held against. */
  floorMs: () => number;
  /** Called whenever a TCP connection to anywhere came up or brought data: the network works. */
  onReached: () => void;
}

export function firmwarePlatform<Timer>(parts: FirmwareParts<Timer>): FirmwarePlatform {
  const { storage, keyStore, random, log, buildTimeMs } = parts;
  const clock = new DeviceClock(parts.clock);
  const scheduler = timerScheduler(parts.timers);
  const resolver = new NameResolver(parts.resolveName, scheduler);
  const floor = new TrustedTime(
    { monotonicMs: () => clock.monotonicMs(), wallMs: () => 0, wallTrusted: () => false },
    storage,
    buildTimeMs,
  );
  const trusted = new TrustedTime(clock, storage, buildTimeMs);
  const streams = tcpStreamOpener({ TCP: parts.TCP, resolver, scheduler });
  const platform: FirmwarePlatform = {
    clock,
    scheduler,
    random,
    storage,
    keyStore,
    chains: engineChainVerifier(parts.tls),
    log,
    resolver,
    dialer: dialer(
      parts,
      telling(streams, () => platform.onReached()),
      scheduler,
      () => trusted.nowMs(),
    ),
    floorMs: () => floor.nowMs(),
    onReached: () => undefined,
  };
  return platform;
}

function dialer<Timer>(parts: FirmwareParts<Timer>, opener: ByteStreamOpener, scheduler: Scheduler, trustedTimeMs: () => number): Dialer {
  return new TlsDialer({ opener, scheduler, tls: parts.tls, trustedTimeMs }, parts.tlsOptions);
}

/**
 * The same streams, telling of each connection that came up and of all that came: one that stands proves the network by its keep-alive
 * alone.
 */
function telling(opener: ByteStreamOpener, onReached: () => void): ByteStreamOpener {
  return {
    open(host, port, handlers, turn) {
      const listening = {
        opened(): void {
          onReached();
          handlers.opened();
        },
        data(bytes: Uint8Array): void {
          onReached();
          handlers.data(bytes);
        },
        writable: (): void => handlers.writable(),
        ended: (reason: Failure): void => handlers.ended(reason),
      };
      return opener.open(host, port, listening, turn);
    },
  };
}
