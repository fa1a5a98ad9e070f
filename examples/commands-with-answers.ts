/**
 * Commands with answers, in a form that works with MQTT 3.1.1 and 5.0: the command `down/NAME/ID` is answered on `up/answers/ID`. (Between
 * MQTT
 * 5.0 clients, `MqttClient.requester` does this with response topics.)
 */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

let intervalSeconds = 60;
const handlers: Record<string, (text: string) => object> = {
  read: () => ({ celsius: 21.5 }),
  interval: (text) => {
    if (!(Number(text) >= 1)) throw new RangeError("interval must be at least 1 second");
    intervalSeconds = Number(text);
    return { intervalSeconds };
  },
};

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device({ broker: { host: "localhost", port: 8883 } }, nodePlatform({ vault }));
device.start();
const commands = device.subscribe("down/#", { qos: 1 });
await commands.granted;
console.log("ready");
for await (const command of commands) {
  const [name = "", id = ""] = command.topic.slice(device.topic("down/").length).split("/");
  let answer: object;
  try {
    answer = handlers[name]?.(command.text()) ?? { error: `unknown command ${name}` };
  } catch (error) {
    answer = { error: String(error) };
  }
  await device.publish(`up/answers/${id}`, JSON.stringify(answer), { qos: 1 });
}
