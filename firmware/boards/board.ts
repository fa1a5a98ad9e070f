/** What an application gets of a board, the same on every one: `import { openBoard } from "hawser/firmware"`. */
import type { LogLevel } from "../../sdk/platform.js";
import type { FirmwarePlatform } from "../platform.js";
import type { TlsDialerOptions } from "../tls-dialer.js";
import type { WifiNetwork } from "../wifi/wifi-keeper.js";

export interface BoardOptions {
  /** The access point. Where an operating system has the network (Linux) it is not looked at. */
  wifi?: WifiNetwork;
  /** Names of SNTP servers; of two or more, two must agree before the clock is set. None leaves the clock alone. */
  timeServers?: readonly string[];
  /** What is printed; default `info`. */
  logLevel?: LogLevel;
  tls?: TlsDialerOptions;
}

export interface Board {
  /** For `new Device(config, board.platform)`. */
  platform: FirmwarePlatform;
  /** When the firmware was built, for `DeviceConfig.buildTimeMs`. */
  buildTimeMs: number;
  /** Joins the network and sets the clock, and keeps at both; returns at once. A device may be started before: its attempts fail until then. */
  start(): void;
  /** Strength of the Wi-Fi signal, dBm; undefined without Wi-Fi. */
  signalDbm(): number | undefined;
}
