/**
 * A gateway or backend with `MqttClient`: it connects with a client certificate, reads what devices report and sends them commands.
 * Issue its certificate with: hawser issue --dir fleet/ca --name gateway-1 --role backend --out gateway-1
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { MqttClient } from "hawser/mqtt";
import { memoryKeyStore, memoryStorage, nodePlatform } from "hawser/node";

const read = (name: string): string => readFileSync(`gateway-1/${name}`, "utf8");
const certificates = (pem: string): Uint8Array[] =>
  [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(([text]) => new X509Certificate(text).raw);

const keyStore = memoryKeyStore();
keyStore.restore("gateway", createPrivateKey(read("client.key.pem")).export({ format: "der", type: "pkcs8" }));
const platform = nodePlatform({ keyStore, storage: memoryStorage() });
const credential = { kind: "mtls", slot: "gateway", chain: certificates(read("client.crt.pem")), trustAnchors: certificates(read("ca.crt.pem")) } as const;

const client = new MqttClient(
  { clientId: "gateway-1", protocolVersion: 4, cleanStart: true, keepAliveSeconds: 60, connackTimeoutMs: 10_000 },
  platform,
);
const broker = { host: "localhost", port: 8883 };
await client.connect((handlers) => platform.dialer.dial(broker, credential, 10_000, handlers));
const reports = client.subscribe("devices/+/up/#", { qos: 1 });
await reports.granted;
console.log("ready");
for await (const report of reports) {
  console.log(report.topic, report.text());
  const [, id = ""] = report.topic.split("/");
  if (report.topic.endsWith("/up/reading")) await client.publish(`devices/${id}/down/settings/unit`, "celsius", { qos: 1 });
}
