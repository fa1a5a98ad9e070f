/** What Moddable has on every board of ours: sockets, lookups, timers, ticks, `trace`. */
import Serial from "embedded:io/serial";
import TCP from "embedded:io/socket/tcp";
import UDP from "embedded:io/socket/udp";
import Time from "time";
import Timer from "timer";
import type { Storage } from "../../sdk/platform.js";
import type { BoardFacts } from "../../sdk/provisioning/messages.js";
import { BUILD_TIME_MS } from "../build-time.js";
import type { ResolveName, TcpConstructor, UdpConstructor } from "../io/ecma419.js";
import type { SerialConstructor, SerialSettings } from "../io/serial-port.js";
import { provisionedOverSerial } from "../io/serial-provisioning.js";
import { traceLog } from "../io/trace-log.js";
import { nativeRandom, openNativeKeyStore } from "../tls/native-key-store.js";
import { nativeTls } from "../tls/native-engine.js";
import { firmwarePlatform, type FirmwarePlatform } from "../firmware-platform.js";
import { SntpClient } from "../sntp/sntp-client.js";
import type { BoardOptions } from "./board.js";

// A global of Moddable's IO, until ECMA-419's own resolver is everywhere.
declare const System: { resolve: ResolveName };

/** @param systemTrusted true where an operating system keeps the time */
export function moddablePlatform(options: BoardOptions, storage: Storage, systemTrusted: boolean): FirmwarePlatform {
  const keyStore = openNativeKeyStore();
  const log = traceLog((text) => trace(text), options.logLevel);
  return firmwarePlatform({
    TCP: TCP as unknown as TcpConstructor,
    resolveName: (name, done) => System.resolve(name, done),
    timers: { set: (callback, delayMs) => Timer.set(callback, delayMs), clear: (timer) => Timer.clear(timer) },
    clock: { ticks: () => Time.ticks, systemMs: () => Date.now(), setSystemSeconds: (seconds) => Time.set(seconds), systemTrusted },
    random: nativeRandom,
    storage,
    keyStore,
    tls: options.keepSessions?.(nativeTls, { keyStore, storage, random: nativeRandom, log }) ?? nativeTls,
    log,
    buildTimeMs: BUILD_TIME_MS,
    ...(options.tls && { tlsOptions: options.tls }),
  });
}

/** Undefined when the application names no time servers. */
export function moddableSntp(platform: FirmwarePlatform, options: BoardOptions): SntpClient | undefined {
  const servers = (options.timeServers ?? []).filter((server) => server !== "");
  if (servers.length === 0) return undefined;
  const { resolver, clock, scheduler, random, log, floorMs, network } = platform;
  const setWallStart = (wallStartMs: number): void => clock.setWallStart(wallStartMs);
  const parts = { UDP: UDP as unknown as UdpConstructor, resolver, clock, scheduler, random, log, floorMs, setWallStart };
  return new SntpClient({ ...parts, ...(network && { network }) }, servers);
}

export function moddableProvisioning(
  { storage, keyStore, log, floorMs }: FirmwarePlatform,
  settings: SerialSettings,
  board?: BoardFacts,
): Promise<void> {
  return provisionedOverSerial({
    Serial: Serial as unknown as SerialConstructor,
    settings,
    storage,
    keyStore,
    log,
    floorMs,
    ...(board && { board }),
  });
}
