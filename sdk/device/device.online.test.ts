/** `device.online()`, events as a stream, and disposal. */
import { describe, expect, it } from "vitest";
import { watch } from "../../test/support/mqtt/session-world.js";
import { failing } from "../../test/support/device/scripted-dialer.js";
import { BROKER, World } from "../../test/support/device/test-world.js";
import { failure } from "../failure.js";
import { Device } from "./device.js";

async function made(): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  return { world, device: new Device({ broker: BROKER }, world.platform) };
}

describe("online", () => {
  it("resolves when the broker accepts the certificate, and at once afterwards", async () => {
    const { world, device } = await made();
    const online = watch(device.online());
    device.start();
    await world.pass(0);
    expect(online.state).toBe("resolved");
    await expect(device.online()).resolves.toBeUndefined();
  });

  it("rejects with ONLINE_TIMEOUT in time, and says what stands in the way", async () => {
    const { world, device } = await made();
    world.dialer.usually = failing(failure("DNS_FAILED", "no such host"));
    device.start();
    const online = device.online({ timeoutMs: 5_000 });
    const seen = watch(online);
    await world.pass(4_999);
    expect(seen.state).toBe("pending");
    await world.pass(1);
    await expect(online).rejects.toMatchObject({ code: "ONLINE_TIMEOUT", nextStep: "no such host" });
  });

  it("rejects with STOPPED when the device is stopped meanwhile", async () => {
    const { world, device } = await made();
    world.dialer.usually = failing(failure("DNS_FAILED", "no such host"));
    device.start();
    const seen = watch(device.online());
    void device.stop();
    await world.pass(0);
    expect(seen.state).toBe("STOPPED");
  });
});

it("A stream of events has what a listener hears", async () => {
  const { world, device } = await made();
  const heard: string[] = [];
  device.listen(({ type }) => heard.push(type));
  const stream = device.events();
  device.start();
  await world.pass(0);
  const [first, second] = [await stream.next(), await stream.next()];
  expect([first.value?.type, second.value?.type]).toEqual(heard.slice(0, 2));
  expect(device.statistics.connections).toBe(1);
});

it("`await using` stops the device", async () => {
  const { world, device } = await made();
  device.start();
  await world.pass(0);
  const disposed = watch(device[Symbol.asyncDispose]());
  await world.pass(10_000);
  expect([disposed.state, device.status.state]).toEqual(["resolved", "stopped"]);
});
