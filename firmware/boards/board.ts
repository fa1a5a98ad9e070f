/** What an application gets of a board, the same on every one: `import { openBoard } from "hawser/firmware"`. */
import type { LogLevel } from "../../sdk/platform.js";
import type { BoardFacts } from "../../sdk/provisioning/messages.js";
import type { SerialSettings } from "../io/serial-port.js";
import type { FirmwarePlatform } from "../firmware-platform.js";
import type { KeptSessionParts } from "../../sdk/sleep/kept-tls-session.js";
import type { TrialOptions } from "./image-trial.js";
import type { TlsDialerOptions } from "../tls/tls-dialer.js";
import type { TlsEngines } from "../tls/tls-engine.js";
import type { WifiNetwork } from "../wifi/wifi-keeper.js";

export interface BoardOptions {
  /** The access point. Where an operating system has the network (Linux) it is not looked at. */
  wifi?: WifiNetwork;
  /** Names of SNTP servers; of two or more, two must agree before the clock is set. None leaves the clock alone. */
  timeServers?: readonly string[];
  /** What is printed; default `info`. */
  logLevel?: LogLevel;
  tls?: TlsDialerOptions;
  /** `keepSessions` of `hawser/sleep`: TLS sessions outlive sleeps and restarts. Left out, each start makes a full handshake. */
  keepSessions?: (tls: TlsEngines, parts: KeptSessionParts) => TlsEngines;
  /** Where a factory station is heard: see {@link Board.provisioned}. Default: UART 0 of the chip at 115200 baud; on Linux none. */
  serial?: SerialSettings;
  /** What a factory station is told about this board: its MAC address and firmware, where the application knows them (docs/factory.md). */
  about?: BoardFacts;
}

export interface Board {
  /** For `new Device(config, board.platform)`. */
  platform: FirmwarePlatform;
  /** When the firmware was built, for `DeviceConfig.buildTimeMs`. */
  buildTimeMs: number;
  /**
   * Joins the network and sets the clock, and keeps at both; returns at once. A device that is started before dials when the network is
   * there.
   */
  start(): void;
  /**
   * Resolves when the device has an identity: at once where it has one, else when a station has given it one over the serial port (`hawser
   * provision --serial`).
   * An application that does not call this leaves the port alone. Throws `SERIAL_FAILED` when there is no identity and no port, or the port
   * is lost (Linux).
   */
  provisioned(): Promise<void>;
  /**
   * Keeps an image that came over the air once the broker granted a subscription: `board.keepImage(device.subscribe("down/#"))`. Until then
   * the bootloader goes back to the image before at the next restart, and after `withinMs` the board restarts itself for that.
   * @returns whether this image was on trial and is kept now; false for any other, and at once where nothing comes over the air (Linux)
   */
  keepImage(subscription: { readonly granted: Promise<unknown> }, options?: TrialOptions): Promise<boolean>;
  /** Strength of the Wi-Fi signal, dBm; undefined without Wi-Fi. */
  signalDbm(): number | undefined;
}
