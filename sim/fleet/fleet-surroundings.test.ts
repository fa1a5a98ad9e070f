import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import type { Failure } from "../../sdk/failure.js";
import type { Platform } from "../../sdk/platform.js";
import { memoryKeyStore, memoryStorage } from "../node/memory-stores.js";
import { nodePlatform } from "../node/node-platform.js";
import { FleetSurroundings } from "./fleet-surroundings.js";

const platform = (surroundings: FleetSurroundings): Platform =>
  surroundings.around(nodePlatform({ keyStore: memoryKeyStore(), storage: memoryStorage() }));

/** How an attempt over plain TCP goes. */
function dialled({ dialer }: Platform, port: number): Promise<"opened" | Failure> {
  return new Promise((resolve) => {
    const link = dialer.dial({ host: "127.0.0.1", port }, { kind: "none" }, 5_000, {
      opened: () => {
        resolve("opened");
        link.close();
      },
      data: () => undefined,
      drain: () => undefined,
      ended: resolve,
    });
  });
}

it("lets names fail for every attempt, and resolve again, whatever platform was made before", async () => {
  const server = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const surroundings = new FleetSurroundings();
  const device = platform(surroundings);
  expect(await dialled(device, port)).toBe("opened");
  surroundings.namesResolve = false;
  expect(await dialled(device, port)).toMatchObject({ code: "DNS_FAILED", class: "network" });
  surroundings.namesResolve = true;
  expect(await dialled(device, port)).toBe("opened");
});

it("ends an attempt that is given up before its name failed once, as closed here", async () => {
  const surroundings = new FleetSurroundings();
  surroundings.namesResolve = false;
  const ends: string[] = [];
  const handlers = { opened: () => undefined, data: () => undefined, drain: () => undefined };
  const ended = ({ code }: Failure): void => void ends.push(code);
  const { dialer } = platform(surroundings);
  dialer.dial({ host: "h", port: 1 }, { kind: "none" }, 1, { ...handlers, ended }).close();
  expect(ends).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 0));
  await new Promise((resolve) => setImmediate(resolve));
  expect(ends).toHaveLength(1);
});

it("sets the wall clock of every device wrong, and no other clock", () => {
  const surroundings = new FleetSurroundings();
  const { clock } = platform(surroundings);
  const [wallMs, monotonicMs] = [clock.wallMs(), clock.monotonicMs()];
  surroundings.clockAheadMs = -3_600_000;
  expect(clock.wallMs() - wallMs).toBeLessThan(-3_500_000);
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(monotonicMs);
  expect(clock.wallTrusted()).toBe(true);
});
