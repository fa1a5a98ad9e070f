/**
 * Topics of your own layout. The policy of the broker has to allow them: a class with `base: "plant/line-1/{id}"` (docs/policy.md). The identity
 * topics stay under devices/{id}/.
 */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device({ broker: { host: "localhost", port: 8883 }, topicBase: "plant/line-1/{id}" }, nodePlatform({ vault }));
device.start();
const echoes = device.subscribe("down/#", { qos: 1 });
await echoes.granted;
await device.publish("up/temperature", "21.5", { qos: 1 });
console.log("delivered to", device.topic("up/temperature"));
await device.stop();
vault.close();
