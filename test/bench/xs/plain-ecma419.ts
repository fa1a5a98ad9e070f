/** On the XS host: Moddable's ECMA-419 MQTT client doing what `plain-hawser.ts` does. */
import { host, HostResolver, HostTcp, MQTTClient, sayFigures } from "./ecma419-library.js";
import type { PlainTask } from "./plain-task.js";

const { CONNACK, PUBACK, SUBACK, SUBSCRIBE } = MQTTClient;

sayFigures("empty");
const task = JSON.parse(host.processArguments()[0] ?? "{}") as PlainTask;
const payload = new Uint8Array(task.payloadBytes);
let sent = 0;

function publish(client: InstanceType<typeof MQTTClient>): void {
  sent++;
  client.write(payload, { topic: "up/a", QoS: 1 });
}

new MQTTClient({
  host: "127.0.0.1",
  port: task.port,
  id: "ecma419",
  keepAlive: 60_000,
  dns: { io: HostResolver },
  socket: { io: HostTcp },
  onControl({ operation }) {
    if (operation === CONNACK) this.write(null, { operation: SUBSCRIBE, items: [{ topic: "down/#", QoS: 1 }] });
    if (operation === SUBACK) {
      sayFigures("subscribed");
      publish(this);
    }
    if (operation !== PUBACK) return;
    if (sent < task.count) return publish(this);
    sayFigures("published");
    host.exit(0);
  },
  onError: () => host.exit(1),
});
