/** On the XS host: `MqttClient` over plain TCP; says what the heap holds after each step. */
import { host, hostScheduler, MqttClient, systemRandom, tcpOpener, TlsDialer } from "../../../support/xs/mqtt-library.js";
import type { PlainTask } from "../plain-task.js";

const heap = (step: string): void => {
  host.collectGarbage();
  host.print(JSON.stringify({ step, ...host.heapFigures() }));
};

heap("empty");
const task = JSON.parse(host.processArguments()[0] ?? "{}") as PlainTask;
const clock = { monotonicMs: host.monotonicMs, wallMs: host.wallMs, wallTrusted: (): boolean => true };
const dialer = new TlsDialer({ opener: tcpOpener, scheduler: hostScheduler, trustedTimeMs: host.wallMs });
heap("its platform and dialer");
const client = new MqttClient(
  { clientId: "hawser", protocolVersion: 4, cleanStart: true, keepAliveSeconds: 60, connackTimeoutMs: 10_000 },
  { clock, scheduler: hostScheduler, random: systemRandom, log: () => undefined },
);
heap("new MqttClient(...)");

async function run(): Promise<void> {
  await client.connect((handlers) => dialer.dial({ host: "127.0.0.1", port: task.port }, { kind: "none" }, 10_000, handlers));
  heap("connect(...)");
  await client.subscribe("down/#", { qos: 1 }).granted;
  heap("subscribe(...)");
  await client.publish("up/a", new Uint8Array(task.payloadBytes), { qos: 1 });
  heap("publish(...)");
  host.exit(0);
}

void run();
