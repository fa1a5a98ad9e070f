/**
 * One waking of a device that sleeps between readings: connect, send the reading and what has piled up, take commands, sleep again. With a
 * persistent outbox, a reading that could not be sent waits for the next waking. The broker keeps the session, so commands wait too. With
 * the TLS session kept as well, the next waking shows no certificates.
 */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const platform = nodePlatform({ vault, keepSessions: true });
const device = new Device({ broker: { host: "localhost", port: 8883 }, outbox: { persistent: true } }, platform);
const commands = device.subscribe("down/#", { qos: 1 });
const takeCommands = async (): Promise<void> => {
  for await (const command of commands) console.log("command", command.topic, command.text());
};
void takeCommands();

// 20 seconds at most, to save the battery.
const { waiting } = await device.deliver([{ topic: "up/reading", payload: JSON.stringify({ celsius: 21.5 }) }], { withinMs: 20_000 });
console.log(waiting === 0 ? "sent" : "kept for the next waking");
vault.close();
