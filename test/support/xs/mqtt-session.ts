/**
 * A whole MQTT session on the XS host, plaintext: connect, subscribe, messages of every level there and back, disconnect; says what the
 * heap holds on the way. Test material; the configuration is the first argument.
 */
import { failure, host, hostScheduler, MqttClient, systemRandom, tcpOpener, TlsDialer } from "./mqtt-library.js";

interface SessionConfig {
  port: number;
  protocolVersion: 4 | 5;
  qos: readonly (0 | 1 | 2)[];
  /** Messages of each level. */
  count: number;
  payloadBytes: number;
}

const say = (message: object): void => host.print(JSON.stringify(message));
const heap = (at: string): void => {
  host.collectGarbage();
  say({ heap: at, ...host.heapFigures(), meter: host.meter() });
};

heap("start");
const config = JSON.parse(host.processArguments()[0] ?? "{}") as SessionConfig;
const clock = { monotonicMs: host.monotonicMs, wallMs: host.wallMs, wallTrusted: (): boolean => true };
const dialer = new TlsDialer({ opener: tcpOpener, scheduler: hostScheduler, trustedTimeMs: host.wallMs });
const client = new MqttClient(
  {
    clientId: `xs-${host.wallMs()}-${Math.random()}`.slice(0, 23),
    protocolVersion: config.protocolVersion,
    cleanStart: true,
    keepAliveSeconds: 30,
    connackTimeoutMs: 10_000,
  },
  { clock, scheduler: hostScheduler, random: systemRandom, log: () => undefined },
);

async function session(): Promise<void> {
  await client.connect((handlers) => dialer.dial({ host: "127.0.0.1", port: config.port }, { kind: "none" }, 10_000, handlers));
  heap("connected");
  for (const qos of config.qos) await exchange(qos);
  heap("after messages");
  await client.disconnect();
  heap("disconnected");
}

async function exchange(qos: 0 | 1 | 2): Promise<void> {
  const filter = `xs/${host.monotonicMs()}/+`;
  const subscription = client.subscribe(filter, { qos });
  say({ granted: await subscription.granted, qos });
  heap(`subscribed ${qos}`);
  const payload = new Uint8Array(config.payloadBytes).map((_, index) => index * 7);
  let left = config.count;
  let wrong = 0;
  const start = host.meter();
  void publishAll(filter.replace("+", "ü"), payload, qos);
  for await (const message of subscription) {
    if (message.qos !== qos || message.payload.length !== payload.length || message.payload[0] !== ((config.count - left) & 255)) wrong++;
    if (--left === 0) break;
  }
  say({ received: config.count, wrong, qos, meterPerMessage: Math.round((host.meter() - start) / config.count) });
}

async function publishAll(topic: string, payload: Uint8Array, qos: 0 | 1 | 2): Promise<void> {
  for (let n = 0; n < config.count; n++) {
    payload[0] = n;
    await client.publish(topic, payload, { qos });
  }
}

session().then(
  () => host.exit(0),
  (error: unknown) => {
    say({ failed: String(error), stack: error instanceof Error ? error.stack : "", class: failure("CLOSED_LOCALLY", "").class });
    host.exit(1);
  },
);
