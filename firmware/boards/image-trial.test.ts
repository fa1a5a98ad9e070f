import { expect, it } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { keepWhenGranted, type RunningImage } from "./image-trial.js";

/** An image on trial that says what it is asked, and one timer that the test lets ring. */
function trial(canKeep = true): { asked: string[]; parts: Parameters<typeof keepWhenGranted>[0]; ring: () => void } {
  const asked: string[] = [];
  let timer: { delayMs: number; run: () => void } | undefined;
  const image: RunningImage = {
    isOnTrial: () => true,
    keep() {
      asked.push("keep");
      return canKeep;
    },
    giveUp: () => void asked.push("give up"),
  };
  const scheduler = {
    after(delayMs: number, run: () => void) {
      timer = { delayMs, run };
      return () => (timer = undefined);
    },
  };
  return { asked, parts: { image, scheduler, log: (level, message) => void asked.push(`${level}: ${message}`) }, ring: () => timer?.run() };
}

it("does not keep an image whose subscription the broker refused, and gives it up when its time is over", async () => {
  const { asked, parts, ring } = trial();
  const refused = Promise.reject(new HawserError("NOT_AUTHORIZED", "the broker refused the subscription"));
  expect(await keepWhenGranted(parts, refused)).toBe(false);
  expect(asked).toEqual(["warn: the new image is not kept: the broker refused the subscription"]);
  ring();
  expect(asked.slice(1)).toEqual(["error: the new image was not accepted in time: the one before starts again", "give up"]);
});

it("never gives up an image that was kept, nor one that may take for ever", async () => {
  const kept = trial();
  expect(await keepWhenGranted(kept.parts, Promise.resolve(1))).toBe(true);
  kept.ring();
  expect(kept.asked).toEqual(["keep", "info: the new image is kept"]);
  const patient = trial();
  const silent = new Promise<number>(() => undefined);
  void keepWhenGranted(patient.parts, silent, { withinMs: Infinity });
  patient.ring();
  expect(patient.asked).toEqual([]);
});

it("says so when the flash does not take the record", async () => {
  const { asked, parts } = trial(false);
  expect(await keepWhenGranted(parts, Promise.resolve(1))).toBe(false);
  expect(asked).toEqual(["keep", "error: the new image could not be kept"]);
});
