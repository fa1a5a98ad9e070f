/**
 * A device that finds its flash damaged: it starts or says typed what is wrong, and once started it comes online or says why not; whatever
 * it did about the damage, the next power-on fares no worse.
 */
import type { Device } from "../../../sdk/device/device.js";
import { HawserError } from "../../../sdk/errors.js";
import { recordBend, unpackRecords, type Records } from "../storage-records.js";
import { promise, type Target } from "../fuzz-target.js";
import { StoredDevice } from "./stored-device.js";

/** Long enough for a recovery over PSK, an enrolment and the proof of the new certificate, milliseconds. */
const LIFE_MS = 240_000;

export const records: Target = {
  name: "records",
  inputs: 12_000,
  maximumBytes: 24_000,
  bend: recordBend,
  async open() {
    const whole = new StoredDevice();
    whole.provision(false);
    const healthy = [...whole.flash.snapshot()];
    return async (input) => {
      const found = unpackRecords(input);
      const stored = new StoredDevice();
      stored.load(found);
      const first = await live(stored);
      const second = await live(stored);
      promise(first !== "online" || second === "online", `online at first, then ${second}`);
      promise(
        second === "online" || !isWhole(found, healthy),
        `${second}, though device, anchors, identity and time are as they should be`,
      );
      return first;
    };
  },
};

/** One power-on. @returns how it went in a word */
async function live(stored: StoredDevice): Promise<string> {
  let life;
  try {
    life = stored.boot();
  } catch (error) {
    if (error instanceof HawserError) return error.code;
    throw error;
  }
  const { device, arrived } = life;
  promise(isId(device.id), "the device started with an id that is none");
  let said: string | undefined;
  device.listen((event) => {
    if ("code" in event) said = event.code;
  });
  await stored.time.run(stored.time.nowMs + LIFE_MS, () => device.status.state === "online");
  throwFirst(stored);
  const { state, lastFailure } = device.status;
  if (state !== "online") {
    const code = lastFailure?.code ?? said;
    promise(code !== undefined, `after ${LIFE_MS} ms the device is ${state} and says nothing of why`);
    return code;
  }
  const refusal = await publish(stored, device);
  promise(refusal !== undefined || arrived.some((topic) => topic.endsWith("up/alive")), "online, but what it publishes does not arrive");
  return refusal ?? "online";
}

/** @returns why a message published online was refused */
async function publish(stored: StoredDevice, device: Device): Promise<string | undefined> {
  let outcome: "accepted" | "pending" | { error: unknown } = "pending";
  device.publish("up/alive", "x", { qos: 1 }).then(
    () => (outcome = "accepted"),
    (error: unknown) => (outcome = { error }),
  );
  await stored.time.run(stored.time.nowMs + 60_000, () => outcome !== "pending");
  throwFirst(stored);
  const settled = outcome as "accepted" | "pending" | { error: unknown };
  if (settled === "pending") {
    const { state, lastFailure } = device.status;
    promise(state !== "online" && lastFailure !== undefined, "a message published online never settles");
    return lastFailure.code;
  }
  if (settled === "accepted") return undefined;
  if (settled.error instanceof HawserError) return `online, but ${settled.error.code}`;
  throw settled.error;
}

function isId(id: unknown): boolean {
  return typeof id === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id);
}

function throwFirst(stored: StoredDevice): void {
  const [error] = stored.errors;
  if (error !== undefined) throw error;
}

/** True when the damage is in the session, the outbox or a certificate only: a device has to cope with that by itself. */
function isWhole(found: Records, healthy: Records): boolean {
  const value = (list: Records, name: string): string => String(new Map(list).get(name));
  return (
    value(found, "time-floor") === "undefined" &&
    ["device", "anchors", "identity"].every((name) => value(found, name) === value(healthy, name))
  );
}
