/** The ESP32: Wi-Fi that stays joined, records and keys in NVS, a clock that only SNTP can set. */
import WiFi from "embedded:network/interface/wifi";
import keyValue from "embedded:storage/key-value";
import { HawserError } from "../../sdk/errors.js";
import { BUILD_TIME_MS } from "../build-time.js";
import type { KeyValueStore, WifiConstructor } from "../io/ecma419.js";
import { keyValueStorage } from "../io/key-value-storage.js";
import type { SerialSettings } from "../io/serial-port.js";
import { WifiKeeper } from "../wifi/wifi-keeper.js";
import type { Board, BoardOptions } from "./board.js";
import { keepWhenGranted, type RunningImage } from "./image-trial.js";
import { moddablePlatform, moddableProvisioning, moddableSntp } from "./moddable.js";

export type { Board, BoardOptions } from "./board.js";
export type { TrialOptions } from "./image-trial.js";

declare function native<Callable>(name: string): Callable;

/** Transmit * 256 + receive, of the chip that the firmware was built for. */
const uart0Pins = native<() => number>("xs_uart0_pins");

const runningImage: RunningImage = {
  isOnTrial: native<() => boolean>("xs_image_on_trial"),
  keep: native<() => boolean>("xs_image_keep"),
  giveUp: native<() => void>("xs_image_give_up"),
};

/** NVS namespace of the SDK's records. PSA keeps the keys in a namespace of its own. */
const NAMESPACE = "hawser";

/**
 * @throws HawserError `BAD_CONFIG` without a network to join; `KEY_STORE_FAILED`, `STORAGE_FAILED`
 */
export function openBoard(options: BoardOptions): Board {
  const { wifi } = options;
  if (wifi === undefined || wifi.ssid === "")
    throw new HawserError("BAD_CONFIG", "no Wi-Fi network is set", "Build with ssid=... password=...");
  const store = keyValue.open({ path: NAMESPACE, mode: "r+", format: "buffer" }) as unknown as KeyValueStore;
  const platform = moddablePlatform(options, keyValueStorage(store), false);
  const { clock, scheduler, log, random } = platform;
  const station = new WifiKeeper(
    { WiFi: WiFi as unknown as WifiConstructor, clock, scheduler, log, fraction: () => random.fraction() },
    wifi,
  );
  platform.network = station;
  const sntp = moddableSntp(platform, options);
  platform.onReached = () => station.proof();
  if (sntp) sntp.onSet = () => station.proof();
  return {
    platform,
    buildTimeMs: BUILD_TIME_MS,
    start() {
      station.start();
      sntp?.start();
    },
    provisioned: () => moddableProvisioning(platform, { ...usualPins(), ...options.serial }, options.about),
    keepImage: ({ granted }, trial) => keepWhenGranted({ image: runningImage, scheduler, log }, granted, trial),
    signalDbm: () => station.signalDbm,
  };
}

function usualPins(): SerialSettings {
  const pins = uart0Pins();
  return { transmit: pins >> 8, receive: pins & 0xff };
}
