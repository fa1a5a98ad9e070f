/** A sensor that reports once a second and takes commands. Set-up: README.md, "A first sensor". */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device(
  { broker: { host: "localhost", port: 8883 }, recovery: { host: "localhost", port: 8884 }, outbox: { persistent: true } },
  nodePlatform({ vault }),
);
device.listen((event) => console.log(event.type));
device.start();

setInterval(() => {
  const reading = JSON.stringify({ celsius: 20 + Math.random() });
  device.publish("up/temperature", reading, { qos: 1, queue: true }).catch((error: unknown) => console.error(String(error)));
}, 1_000);
for await (const command of device.subscribe("down/#", { qos: 1 })) console.log(command.topic, command.text());
