/**
 * On the XS host: an image on trial, and a session with a broker that may prove it. Nothing here can restart into another image, so a
 * stand-in says what it was asked to do. Test material; the configuration is the first argument.
 */
import { keepWhenGranted, type RunningImage } from "../../../firmware/boards/image-trial.js";
import { host, hostScheduler, MqttClient, systemRandom, tcpOpener, TlsDialer } from "./mqtt-library.js";

interface TrialConfig {
  port: number;
  onTrial: boolean;
  withinMs: number;
}

const say = (message: object): void => host.print(JSON.stringify(message));
const config = JSON.parse(host.processArguments()[0] ?? "{}") as TrialConfig;
const clock = { monotonicMs: host.monotonicMs, wallMs: host.wallMs, wallTrusted: (): boolean => true };
const dialer = new TlsDialer({ opener: tcpOpener, scheduler: hostScheduler, trustedTimeMs: host.wallMs });
const client = new MqttClient(
  { clientId: "trial", protocolVersion: 5, cleanStart: true, keepAliveSeconds: 30, connackTimeoutMs: 10_000 },
  { clock, scheduler: hostScheduler, random: systemRandom, log: () => undefined },
);

const standIn: RunningImage = {
  isOnTrial: () => config.onTrial,
  keep() {
    say({ image: "kept" });
    return true;
  },
  giveUp() {
    say({ image: "given up" });
    host.exit(0);
  },
};

async function run(): Promise<void> {
  const subscription = client.subscribe("down/#", { qos: 1 });
  const parts = { image: standIn, scheduler: hostScheduler, log: (level: string, message: string) => say({ level, message }) };
  const kept = keepWhenGranted(parts, subscription.granted, { withinMs: config.withinMs });
  await client.connect((handlers) => dialer.dial({ host: "127.0.0.1", port: config.port }, { kind: "none" }, 10_000, handlers));
  say({ connack: true });
  await subscription.granted;
  say({ suback: "granted" });
  say({ keepImage: await kept });
  host.exit(0);
}

void run().catch(() => undefined);
