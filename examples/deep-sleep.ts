/**
 * One waking of a device that sleeps between readings: store the reading, connect, send what has piled up, take commands, sleep again. With
 * a
 * persistent outbox, a reading that could not be sent waits for the next waking. The broker keeps the session, so commands wait too.
 */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

/** Gives up after this long, to save the battery. */
const AWAKE_MS = 20_000;

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device({ broker: { host: "localhost", port: 8883 }, outbox: { persistent: true } }, nodePlatform({ vault }));
const commands = device.subscribe("down/#", { qos: 1 });
const takeCommands = async (): Promise<void> => {
  for await (const command of commands) console.log("command", command.topic, command.text());
};
void takeCommands();

// With `queue: true` this resolves once the reading is in storage, online or not.
await device.publish("up/reading", JSON.stringify({ celsius: 21.5 }), { qos: 1, queue: true });
device.start();
const deadline = Date.now() + AWAKE_MS;
while (device.outbox().length > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
console.log(device.outbox().length === 0 ? "sent" : "kept for the next waking");
await device.stop();
vault.close();
