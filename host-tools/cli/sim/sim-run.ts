/** Runs one simulated device over a vault: the SDK's `Device` on Node, or on XS in a child process. */
import { Device } from "../../../sdk/device/device.js";
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { checkHeaderThere } from "../../../sim/node/vault/vault-files.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import type { DeviceSettings } from "../../../sim/xs/device-protocol.js";
import { packageRoot } from "../../../firmware/build/project-files.js";
import type { Context } from "../command-runner.js";
import { FirstConnection } from "../first-connection.js";
import { vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import { shownPayload } from "../payload-text.js";
import { GROWTH_LIMIT, PUBLISH_LIMIT, type ProgramPlan } from "../../../sim/program/program-plan.js";
import { ownProgram } from "../fleet/own-program.js";
import { ProgramRun } from "../simulated-device/program-run.js";
import type { RunningProgram } from "../simulated-device/program-story.js";
import { checkTelemetryTopic } from "../simulated-device/device-topic.js";
import { printDeviceEvent } from "../simulated-device/event-lines.js";
import { Prospects } from "../simulated-device/prospects.js";
import type { OpenDevice, SimulatedDevice, SimulatedMessage } from "../simulated-device/simulated-device.js";
import { Telemetry } from "../simulated-device/telemetry.js";
import { buildingXs, checkXsHere } from "../simulated-device/xs-presence.js";
import type { Terminal } from "../terminal.js";
import { brokerUrl } from "../flag-values.js";

export interface SimRunOptions extends PassphraseOptions {
  engine: "node" | "xs";
  vault: string;
  url: Endpoint;
  pskUrl?: Endpoint;
  publishEvery: number;
  /** Milliseconds. */
  recoveryPatience: number;
  /** Milliseconds. */
  retryCap: number;
  topic: string;
  identityBase?: string;
  count?: number;
  connectTimeout: number;
  program?: string;
  sensor?: string[];
  press?: string[];
  json?: boolean;
}

export async function runSimulatedDevice(options: SimRunOptions, context: Context): Promise<void> {
  const renewal = new RenewalSignal();
  const topic = checkTelemetryTopic(options.topic);
  // Before the question for a passphrase.
  checkHeaderThere(options.vault);
  if (options.engine === "xs") checkXsHere(packageRoot());
  const program = await ownProgram({ ...options, publishLimit: PUBLISH_LIMIT, growthLimit: GROWTH_LIMIT }, options.engine);
  const passphrase = await vaultPassphrase(options, context.env);
  const { url, pskUrl, recoveryPatience, retryCap, identityBase } = options;
  const settings = {
    broker: url,
    ...(pskUrl === undefined ? {} : { recovery: pskUrl }),
    ...(identityBase === undefined ? {} : { identityBase }),
    outbox: { persistent: true },
    backoff: { capMs: retryCap },
    recoveryPatience: { minimumMs: recoveryPatience, maximumMs: recoveryPatience * 1.5 },
  };
  if (program !== undefined) {
    try {
      return await runProgram(program.plan, passphrase, settings, renewal, options, context);
    } finally {
      program.remove();
    }
  }
  const open =
    options.engine === "xs"
      ? await openOnXs(options.vault, passphrase, settings, context.terminal)
      : openOnNode(options.vault, passphrase, settings);
  try {
    renewal.attach(open.device);
    await serve(open, topic, options, context);
  } finally {
    await open.close();
  }
}

function openOnNode(path: string, passphrase: string, settings: DeviceSettings): OpenDevice {
  const vault = Vault.open(path, passphrase);
  try {
    // Node ends only with this process.
    return {
      device: new Device(settings, nodePlatform({ vault })),
      broken: new Promise(() => undefined),
      close: async () => vault.close(),
    };
  } catch (error) {
    vault.close();
    throw error;
  }
}

async function runProgram(
  plan: ProgramPlan,
  passphrase: string,
  settings: DeviceSettings,
  renewal: RenewalSignal,
  options: SimRunOptions,
  { terminal, stop }: Context,
): Promise<void> {
  const { run, close } =
    options.engine === "xs"
      ? await programOnXs(plan, options.vault, passphrase, settings, terminal)
      : await programOnNode(plan, options.vault, passphrase, settings, terminal);
  const { story } = run;
  try {
    const first = new FirstConnection(brokerUrl(options.url), options.connectTimeout);
    const prospects = new Prospects(first, options.pskUrl !== undefined);
    run.listen((event) => {
      printDeviceEvent(terminal, event);
      prospects.observe(event);
    });
    renewal.attach(run);
    try {
      await Promise.race([run.start(), stop.asked, story.broken]);
      await Promise.race([first.settled, stop.asked, story.broken]);
      await Promise.race([story.reaches(options.count ?? Infinity), stop.asked, story.broken]);
      if (!stop.requested) await Promise.race([run.sent(), stop.asked, story.broken]);
      story.conclude();
    } finally {
      first.succeeded();
      await run.stop();
    }
    checkCount(story.taken, options.count);
  } finally {
    close();
  }
}

interface OpenProgram {
  readonly run: RunningProgram;
  /** After `stop`. Gives the vault free. */
  close(): void;
}

async function programOnNode(
  plan: ProgramPlan,
  path: string,
  passphrase: string,
  settings: DeviceSettings,
  terminal: Terminal,
): Promise<OpenProgram> {
  const vault = Vault.open(path, passphrase);
  try {
    return { run: await ProgramRun.load(plan, terminal, settings, nodePlatform({ vault })), close: () => vault.close() };
  } catch (error) {
    vault.close();
    throw error;
  }
}

async function programOnXs(
  plan: ProgramPlan,
  path: string,
  passphrase: string,
  settings: DeviceSettings,
  terminal: Terminal,
): Promise<OpenProgram> {
  return buildingXs(terminal, async () => {
    const { XsProgramRun } = await import("../simulated-device/xs-program-run.js");
    const run = await XsProgramRun.load(plan, terminal, path, passphrase, settings);
    return { run, close: () => run.close() };
  });
}

async function openOnXs(path: string, passphrase: string, settings: DeviceSettings, terminal: Terminal): Promise<OpenDevice> {
  return buildingXs(terminal, async () => (await import("../simulated-device/xs-engine.js")).openXsDevice(path, passphrase, settings));
}

async function serve({ device, broken }: OpenDevice, topic: string, options: SimRunOptions, { terminal, stop }: Context): Promise<void> {
  const first = new FirstConnection(brokerUrl(options.url), options.connectTimeout);
  const prospects = new Prospects(first, options.pskUrl !== undefined);
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
    terminal.event(
      "commands-failed",
      { code: errorCode(error), message: errorMessage(error) },
      `${errorCode(error)}: ${errorMessage(error)}`,
      "red",
    );
  });
  try {
    await device.start();
    await Promise.race([first.settled, stop.asked, broken]);
    await Promise.race([telemetry.done, stop.asked, broken]);
  } finally {
    first.succeeded();
    telemetry.stop();
    await device.stop();
  }
  checkCount(telemetry.acknowledged, options.count);
}

/** Without a count a stop is the end that is meant. What was acknowledged while the device stopped counts. */
function checkCount(acknowledged: number, count = 0): void {
  if (acknowledged >= count) return;
  throw new HawserError(
    "INTERRUPTED",
    `stopped after ${acknowledged} of ${count} messages were acknowledged`,
    "Run the command again. Unacknowledged messages are kept in the vault and sent then.",
  );
}

/** Shows every command; one on `down/ping` is answered on `up/pong` with the payload it brought. */
async function answerCommands(device: SimulatedDevice, terminal: Terminal): Promise<void> {
  for await (const message of device.subscribe("down/#", { qos: 1 })) {
    showMessage(terminal, message);
    if (message.topic === device.topic("down/ping")) await answerPing(device, terminal, message.payload);
  }
}

async function answerPing(device: SimulatedDevice, terminal: Terminal, payload: Uint8Array): Promise<void> {
  try {
    await device.publish("up/pong", payload, { qos: 1, queue: true });
  } catch (error) {
    terminal.event(
      "publish-failed",
      { topic: device.topic("up/pong"), code: errorCode(error) },
      `answer to ping: ${errorCode(error)}`,
      "red",
    );
  }
}

function showMessage(terminal: Terminal, { topic, payload }: SimulatedMessage): void {
  const shown = shownPayload(payload);
  terminal.event("message", { topic, ...shown }, `${topic}: ${"payload" in shown ? shown.payload : `${payload.length} bytes`}`);
}

/** SIGUSR1 asks for a renewal, from the first moment on: without a handler Node would open its inspector. */
class RenewalSignal {
  #device: Pick<SimulatedDevice, "renew"> | undefined;
  #asked = false;

  constructor() {
    process.on("SIGUSR1", () => {
      this.#asked = true;
      this.#device?.renew();
    });
  }

  attach(device: Pick<SimulatedDevice, "renew">): void {
    this.#device = device;
    if (this.#asked) device.renew();
  }
}
