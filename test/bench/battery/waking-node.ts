/**
 * One waking on Node as a process of its own: connects, publishes one reading at QoS 1, says so, leaves when its standard input ends, and
 * prints what it cost as JSON.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { SecureVersion } from "node:tls";
import mqtt from "mqtt";
import { Device } from "../../../sdk/device/device.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import { CONFIRMED, READING, TOPIC, type WakingOrder, type WakingResult } from "./waking.js";

const order = JSON.parse(process.argv[2] ?? "") as WakingOrder;
const { port, version, id, messagesWithConnect } = order;

async function hawser(): Promise<void> {
  const vault = Vault.open(order.vault, order.passphrase);
  const platform = nodePlatform({ vault, keepSessions: order.keepSessions, maxTlsVersion: version as SecureVersion });
  const before = process.cpuUsage();
  const device = new Device({ broker: { host: "localhost", port }, enrolment: false, messagesWithConnect }, platform);
  let resumed = false;
  device.listen((event) => {
    if (event.type === "connected") ({ resumed } = event);
  });
  const published = device.publish(TOPIC, READING, { qos: 1 });
  device.start();
  await published;
  await toldToLeave();
  await device.stop();
  report(resumed, before);
  vault.close();
}

/** As its users run it: a session is not kept over processes. */
async function mqttJs(): Promise<void> {
  const { keyFile, certificateFile, caFile } = order;
  const [key, cert, ca] = [readFileSync(keyFile), readFileSync(certificateFile), readFileSync(caFile)];
  const before = process.cpuUsage();
  const options = { key, cert, ca, clientId: id, protocolVersion: 5, reconnectPeriod: 0, maxVersion: version as SecureVersion } as const;
  const client = await mqtt.connectAsync(`mqtts://localhost:${port}`, { ...options, clean: false });
  await client.publishAsync(`devices/${id}/${TOPIC}`, READING, { qos: 1 });
  await toldToLeave();
  await client.endAsync();
  report(false, before);
}

async function toldToLeave(): Promise<void> {
  process.stdout.write(`${CONFIRMED}\n`);
  process.stdin.resume();
  await once(process.stdin, "end");
}

function report(resumed: boolean, before: NodeJS.CpuUsage): void {
  const { user, system } = process.cpuUsage(before);
  const result: WakingResult = { resumed, cpuMicros: user + system };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

await (order.client === "mqtt.js" ? mqttJs() : hawser());
