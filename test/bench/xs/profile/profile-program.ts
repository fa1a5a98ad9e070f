/** On the XS host: `MqttClient` over plain TCP, publishing at QoS 1; says which modules the byte codes of a message are spent in. */
import { endProfile, host, hostScheduler, MqttClient, startProfile, systemRandom, tcpOpener, TlsDialer } from "./profile-library.js";
import type { PlainTask } from "../plain-task.js";

const task = JSON.parse(host.processArguments()[0] ?? "{}") as PlainTask;
const clock = { monotonicMs: host.monotonicMs, wallMs: host.wallMs, wallTrusted: (): boolean => true };
const dialer = new TlsDialer({ opener: tcpOpener, scheduler: hostScheduler, trustedTimeMs: host.wallMs });
const client = new MqttClient(
  { clientId: "hawser", protocolVersion: 4, cleanStart: true, keepAliveSeconds: 60, connackTimeoutMs: 10_000 },
  { clock, scheduler: hostScheduler, random: systemRandom, log: () => undefined },
);

async function run(): Promise<void> {
  await client.connect((handlers) => dialer.dial({ host: "127.0.0.1", port: task.port }, { kind: "none" }, 10_000, handlers));
  await client.subscribe("down/#", { qos: 1 }).granted;
  const payload = new Uint8Array(task.payloadBytes);
  await client.publish("up/a", payload, { qos: 1 });
  startProfile();
  for (let n = 0; n < task.count; n++) await client.publish("up/a", payload, { qos: 1 });
  host.print(JSON.stringify({ profile: endProfile() }));
  host.exit(0);
}

void run();
