/** What the monitor hears at the broker beside `$SYS`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { freePort, startMosquitto } from "../../test/support/node/test-mosquitto.js";
import { MqttClient } from "../../sim/node/url-client.js";
import { SysSource } from "./sys-source.js";

it("leaves out retained messages, which are old, and takes those that are published now", async () => {
  const room = mkdtempSync(join(tmpdir(), "hawser-sys-"));
  onTestFinished(() => rmSync(room, { recursive: true, force: true }));
  const port = await freePort();
  const broker = await startMosquitto(room, "broker", {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  onTestFinished(() => broker.stop());
  const url = `mqtt://127.0.0.1:${port}`;
  const device = await MqttClient.connect(url);
  onTestFinished(() => device.disconnect());
  await device.publish("reports/old", "1", { qos: 1, retain: true });

  const heard: string[] = [];
  let isHeard = (): void => undefined;
  const now = new Promise<void>((resolve) => (isHeard = resolve));
  const owner = { sysMessage: () => undefined, setUp: () => undefined, unreachable: (reason: string) => expect.unreachable(reason) };
  const message = (topic: string): void => {
    heard.push(topic);
    if (topic === "reports/new") isHeard();
  };
  const source = new SysSource(url, {}, owner, { filter: "reports/#", message });
  onTestFinished(() => source.close());
  source.start();
  // Nobody tells when the broker has the subscription: reason code 0x10 is "no matching subscribers".
  while ((await device.publish("reports/new", "2", { qos: 1 })).reasonCode !== 0);
  await now;
  expect(new Set(heard)).toEqual(new Set(["reports/new"]));
});
