/** Runs one simulated device: the SDK's `Device` on Node, over a vault. */
import { Device } from "../../../sdk/device.js";
import type { Message } from "../../../sdk/mqtt/subscription.js";
import { errorCode, errorMessage } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import { nodePlatform } from "../../../sim/node/platform.js";
import { checkHeaderThere } from "../../../sim/node/vault-files.js";
import { Vault } from "../../../sim/node/vault.js";
import type { Context } from "../command-runner.js";
import { FirstConnection } from "../first-connection.js";
import { vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { shownPayload } from "../payload-text.js";
import { checkTelemetryTopic } from "../simulated-device/device-topic.js";
import { printDeviceEvent } from "../simulated-device/event-lines.js";
import { Prospects } from "../simulated-device/prospects.js";
import { Telemetry } from "../simulated-device/telemetry.js";
import type { Terminal } from "../terminal.js";
import { brokerUrl } from "../values.js";

export interface SimRunOptions extends PassphraseOptions {
  vault: string;
  url: Endpoint;
  pskUrl?: Endpoint;
  publishEvery: number;
  topic: string;
  count?: number;
  connectTimeout: number;
  json?: boolean;
}

export async function runSimulatedDevice(options: SimRunOptions, context: Context): Promise<void> {
  const renewal = new RenewalSignal();
  const topic = checkTelemetryTopic(options.topic);
  // Before the question for a passphrase.
  checkHeaderThere(options.vault);
  const vault = Vault.open(options.vault, await vaultPassphrase(options, context.env));
  try {
    const device = new Device(
      { broker: options.url, ...(options.pskUrl === undefined ? {} : { recovery: options.pskUrl }), outbox: { persistent: true } },
      nodePlatform({ vault }),
    );
    renewal.attach(device);
    await serve(device, topic, options, context);
  } finally {
    vault.close();
  }
}

async function serve(device: Device, topic: string, options: SimRunOptions, { terminal, stop }: Context): Promise<void> {
  const first = new FirstConnection(brokerUrl(options.url), options.connectTimeout);
  const prospects = new Prospects(first);
  const telemetry = new Telemetry({
    everyMs: options.publishEvery,
    ...(options.count === undefined ? {} : { count: options.count }),
    publish: (payload) => device.publish(topic, payload, { qos: 1 }),
    onPublished: (n) => terminal.event("published", { n, topic: device.topic(topic) }, `reading ${n} to ${device.topic(topic)}`),
    onFailed: (n, code) => terminal.event("publish-failed", { n, code }, `reading ${n}: ${code}`, "red"),
  });
  device.listen((event) => {
    printDeviceEvent(terminal, event);
    prospects.observe(event);
    if (event.type === "connected") telemetry.start();
  });
  answerCommands(device, terminal).catch((error: unknown) => {
    terminal.event("commands-failed", { code: errorCode(error), message: errorMessage(error) }, `${errorCode(error)}: ${errorMessage(error)}`, "red");
  });
  device.start();
  try {
    await Promise.race([first.settled, stop.asked]);
    await Promise.race([telemetry.done, stop.asked]);
  } finally {
    first.succeeded();
    telemetry.stop();
    await device.stop();
  }
}

/** Shows every command; one on `down/ping` is answered on `up/pong` with the payload it brought. */
async function answerCommands(device: Device, terminal: Terminal): Promise<void> {
  for await (const message of device.subscribe("down/#", { qos: 1 })) {
    showMessage(terminal, message);
    if (message.topic === device.topic("down/ping")) await answerPing(device, terminal, message.payload);
  }
}

async function answerPing(device: Device, terminal: Terminal, payload: Uint8Array): Promise<void> {
  try {
    await device.publish("up/pong", payload, { qos: 1, queue: true });
  } catch (error) {
    terminal.event("publish-failed", { topic: device.topic("up/pong"), code: errorCode(error) }, `answer to ping: ${errorCode(error)}`, "red");
  }
}

function showMessage(terminal: Terminal, { topic, payload }: Message): void {
  const shown = shownPayload(payload);
  terminal.event("message", { topic, ...shown }, `${topic}: ${"payload" in shown ? shown.payload : `${payload.length} bytes`}`);
}

/** SIGUSR1 asks for a renewal, from the first moment on: without a handler Node would open its inspector. */
class RenewalSignal {
  #device: Device | undefined;
  #asked = false;

  constructor() {
    process.on("SIGUSR1", () => {
      this.#asked = true;
      this.#device?.renew();
    });
  }

  attach(device: Device): void {
    this.#device = device;
    if (this.#asked) device.renew();
  }
}
