/**
 * `npm run bench`: Hawser's MQTT client beside MQTT.js in one run. What counts is the CPU time a message and the ratio; the machine's own
 * speed cancels out. A mosquitto costs more a message than the clients do, so they are judged against a sink that does no work. Each client
 * and the sink have a process of their own.
 */
import { playPart } from "./processes.js";

// What only the bench itself needs is not loaded by its parts.
if (!playPart(process.argv[2])) await (await import("./command.js")).bench(process.argv.slice(2));
