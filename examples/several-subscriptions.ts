/** Several subscriptions side by side, each with its own loop and pace. A message that matches several is delivered to each of them. */
import { Device, type Subscription } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device({ broker: { host: "localhost", port: 8883 } }, nodePlatform({ vault }));
device.start();

async function follow(name: string, subscription: Subscription): Promise<void> {
  await subscription.granted;
  console.log(`${name} ready`);
  for await (const message of subscription) console.log(name, message.text());
}

await Promise.all([
  follow("settings", device.subscribe("down/settings/+", { qos: 1 })),
  follow("firmware", device.subscribe("down/firmware", { qos: 1 })),
  follow("everything", device.subscribe("down/#", { qos: 1 })),
]);
