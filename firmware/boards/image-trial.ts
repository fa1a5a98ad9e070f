/**
 * A new image that came over the air is on trial: the bootloader goes back to the one before at the next restart, unless this one is kept.
 * It is kept when the broker granted a subscription: then Wi-Fi, time, keys, TLS and MQTT work, and a broken image could not be replaced
 * over the air again. One that does not get there within a time is given up, and the image before starts.
 */
import type { Log, Scheduler } from "../../sdk/platform.js";

/** What ESP-IDF knows of the running image (`esp_ota_ops.h`). */
export interface RunningImage {
  /** Whether it came over the air and was not kept yet. */
  isOnTrial(): boolean;
  /** @returns whether that is recorded */
  keep(): boolean;
  /** Restarts with the image before; returns only where there is none. */
  giveUp(): void;
}

export interface TrialOptions {
  /** How long a new image has until a broker accepts it, milliseconds; `Infinity`: it is never given up while it runs. Default: an hour. */
  withinMs?: number;
}

export interface TrialParts {
  image: RunningImage;
  scheduler: Scheduler;
  log: Log;
}

const WITHIN_MS = 3_600_000;

/**
 * @param granted of a subscription of the application's: the broker's SUBACK, which follows a CONNACK. Over a pre-shared key a device makes
 *   none, so an image that gets no further than that is not kept.
 * @returns whether the image was on trial and is kept now
 */
export async function keepWhenGranted(
  { image, scheduler, log }: TrialParts,
  granted: Promise<unknown>,
  { withinMs = WITHIN_MS }: TrialOptions = {},
): Promise<boolean> {
  if (!image.isOnTrial()) return false;
  const giveUp = (): void => {
    log("error", "the new image was not accepted in time: the one before starts again", { withinMs });
    image.giveUp();
  };
  const cancel = withinMs === Infinity ? undefined : scheduler.after(withinMs, giveUp);
  try {
    await granted;
  } catch (error) {
    log("warn", "the new image is not kept: the broker refused the subscription", { error: String(error) });
    return false;
  }
  cancel?.();
  const kept = image.keep();
  log(kept ? "info" : "error", kept ? "the new image is kept" : "the new image could not be kept", {});
  return kept;
}
