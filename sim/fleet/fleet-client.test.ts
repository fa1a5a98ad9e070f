import { expect, test } from "vitest";
import type { Device } from "../../sdk/device/device.js";
import { HawserError } from "../../sdk/errors.js";
import { answerPings } from "./fleet-client.js";

type Answering = Parameters<typeof answerPings>[0];

/** Plays one subscription after the other: an error that it ends with, or pings before it ends. No broker ends them by itself. */
function deviceOf(subscriptions: readonly (HawserError | readonly string[])[]): { device: Answering; pongs: string[] } {
  const [left, pongs] = [[...subscriptions], [] as string[]];
  const device = {
    status: { state: "online" } as Device["status"],
    topic: (name: string) => `devices/one/${name}`,
    subscribe: async function* () {
      const next = left.shift() ?? [];
      if (next instanceof HawserError) throw next;
      for (const ping of next) yield { topic: "devices/one/down/ping", payload: Buffer.from(ping) };
    },
    publish: (_topic: string, payload: Uint8Array) => Promise.resolve(void pongs.push(Buffer.from(payload).toString())),
  };
  return { device: device as unknown as Answering, pongs };
}

const hungUp = new HawserError("BROKER_HANGS_UP", "the broker closes the connection", "Check its limits.");

test("a subscription that a bad network had the device give up is asked for again, and counted", async () => {
  const { device, pongs } = deviceOf([hungUp, hungUp, ["1", "2"]]);
  const troubles: string[] = [];
  await answerPings(device, { trouble: (code) => troubles.push(code) }, 0);
  expect(troubles).toEqual(["subscription-ended: BROKER_HANGS_UP", "subscription-ended: BROKER_HANGS_UP"]);
  expect(pongs).toEqual(["1", "2"]);
});

test("a device that was stopped meanwhile asks for nothing", async () => {
  const { device, pongs } = deviceOf([hungUp, ["1"]]);
  Object.assign(device, { status: { state: "stopped" } });
  await answerPings(device, { trouble: () => undefined }, 0);
  expect(pongs).toEqual([]);
});
