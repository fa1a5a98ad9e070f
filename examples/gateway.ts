/**
 * A gateway or backend with `MqttClient`: it connects with a client certificate, reads what devices report and sends them commands.
 * Issue its certificate with: hawser issue --dir fleet/ca --name gateway-1 --role backend --out gateway-1
 */
import { readFileSync } from "node:fs";
import { MqttClient } from "hawser/node";

const read = (name: string): string => readFileSync(`gateway-1/${name}`, "utf8");
const client = await MqttClient.connect("mqtts://localhost:8883", {
  clientId: "gateway-1",
  protocolVersion: 4, // what `hawser broker run` speaks; leave it out for MQTT 5.0
  ca: read("ca.crt.pem"),
  cert: read("client.crt.pem"),
  key: read("client.key.pem"),
});
const reports = client.subscribe("devices/+/up/#", { qos: 1 });
await reports.granted;
console.log("ready");
for await (const report of reports) {
  console.log(report.topic, report.text());
  const [, id = ""] = report.topic.split("/");
  if (report.topic.endsWith("/up/reading")) await client.publish(`devices/${id}/down/settings/unit`, "celsius", { qos: 1 });
}
