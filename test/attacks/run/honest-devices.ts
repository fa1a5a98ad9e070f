/** Devices at work: each publishes ten times a second at QoS 1, and every answer's time is printed in milliseconds, a JSON list a line. */
import mqtt from "mqtt";
import type { MqttClient } from "mqtt";
import { HONEST_NETWORK, planFromStdin } from "./plans.js";
import type { DevicesPlan, Shown } from "./plans.js";

const EVERY_MS = 100;
const PRINT_MS = 100;
const VICTIM_BACK_MS = 300;

const { mtlsPort, devices, victim } = await planFromStdin<DevicesPlan>();
let latenciesMs: number[] = [];

function start({ id, keyPem, chainPem, trustAnchorPem }: Shown, place: number): MqttClient {
  const tls = { key: keyPem, cert: chainPem, ca: trustAnchorPem, checkServerIdentity: () => undefined };
  const from = { localAddress: `${HONEST_NETWORK}${place}` };
  const to = { protocol: "mqtts" as const, host: "127.0.0.1", port: mtlsPort, clientId: id, protocolVersion: 4 as const };
  return mqtt.connect({ ...to, ...tls, ...from, reconnectPeriod: VICTIM_BACK_MS }).on("error", () => undefined);
}

async function measure(client: MqttClient, id: string): Promise<void> {
  const sentMs = performance.now();
  await client.publishAsync(`devices/${id}/up/t`, "21.5", { qos: 1 });
  latenciesMs.push(performance.now() - sentMs);
}

devices.forEach((device, index) => {
  const client = start(device, index + 1);
  client.once("connect", () => {
    setTimeout(() => setInterval(() => void measure(client, device.id), EVERY_MS), (EVERY_MS / devices.length) * index);
  });
});
start(victim, devices.length + 1);
setInterval(() => {
  if (latenciesMs.length > 0) process.stdout.write(`${JSON.stringify(latenciesMs)}\n`);
  latenciesMs = [];
}, PRINT_MS);
