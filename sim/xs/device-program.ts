/**
 * A device on the XS host, driven by JSON lines (`device-protocol.ts`). SIGUSR1 asks for a renewal, SIGTERM and the end of input stop it.
 */
import { byPassword, type DeviceCommand, type DeviceCommands, type DeviceOutput } from "./device-protocol.js";
import {
  base64Decode,
  base64Encode,
  Device,
  errorCode,
  errorMessage,
  HawserError,
  host,
  installIdentity,
  nativeTls,
  openNativeKeyStore,
  xsPlatform,
} from "./device-library.js";

const say = (output: DeviceOutput): void => host.print(JSON.stringify(output));
const keyStore = openNativeKeyStore();
let device: Device | undefined;
let lastCommand: string | undefined;

type Handlers = {
  [Name in keyof DeviceCommands]: (parameters: DeviceCommands[Name][0]) => DeviceCommands[Name][1] | Promise<DeviceCommands[Name][1]>;
};

const HANDLERS: Handlers = {
  makeKey({ commonName }) {
    keyStore.generate("key-a");
    return base64Encode(keyStore.csr("key-a", commonName));
  },
  install({ psk, chain, trustAnchors, ...identity }) {
    if (psk !== undefined) keyStore.importPsk("psk", base64Decode(psk));
    const { storage } = xsPlatform({ keyStore });
    installIdentity(storage, keyStore, {
      ...identity,
      trustAnchors: trustAnchors.map(base64Decode),
      ...(chain && { chain: chain.map(base64Decode) }),
    });
    return null;
  },
  start({ settings, signIn, subscriptions = [], ...versions }) {
    const platform = xsPlatform({
      keyStore,
      tls: nativeTls,
      log: (level, message, fields) => say({ log: { level, message, ...(fields && { fields }) } }),
      ...versions,
    });
    device = new Device({ ...settings, ...(signIn && byPassword(signIn, base64Decode)) }, platform);
    device.listen((event) => say({ event }));
    for (const { filter, options } of subscriptions) void showMessages(device.subscribe(filter, options));
    device.start();
    return null;
  },
  async publish({ topic, payload, options }) {
    // A copy: XS cannot turn an object that lies in flash into JSON, and the usual result does.
    return { ...(await started().publish(topic, base64Decode(payload), options)) };
  },
  subscribe({ filter, options, unread = false }) {
    const subscription = started().subscribe(filter, options);
    if (unread) waiting.push(subscription);
    else void showMessages(subscription);
    return subscription.granted;
  },
  read() {
    for (const subscription of waiting.splice(0)) void showMessages(subscription);
    return null;
  },
  renew() {
    started().renew();
    return null;
  },
  status: () => ({ ...started().status, base: started().topic("").slice(0, -1) }),
  async stop() {
    await started().stop();
    return null;
  },
  heap() {
    host.collectGarbage();
    return { ...host.heapFigures(), meter: host.meter() };
  },
};

const waiting: ReturnType<Device["subscribe"]>[] = [];

async function showMessages(subscription: ReturnType<Device["subscribe"]>): Promise<void> {
  for await (const { topic, payload, qos, retain } of subscription)
    say({ message: { topic, payload: base64Encode(payload), qos, retain } });
}

function started(): Device {
  if (device === undefined)
    throw new HawserError("NOT_STARTED", `the device is not started: cannot ${lastCommand ?? ""}`, "Send `start` first.");
  return device;
}

async function obey(command: DeviceCommand): Promise<void> {
  lastCommand = command.do;
  try {
    const handler = HANDLERS[command.do] as (parameters: object) => unknown;
    say({ answer: command.call, result: await handler(command.with) });
  } catch (error) {
    const nextStep = error instanceof HawserError ? error.nextStep : "";
    say({ answer: command.call, error: { code: errorCode(error), message: errorMessage(error), nextStep } });
  }
}

async function end(): Promise<void> {
  await device?.stop();
  host.exit(0);
}

host.onSignal((name) => (name === "SIGUSR1" ? device?.renew() : void end()));
host.onLine((line) => void (line === undefined ? end() : obey(JSON.parse(line) as DeviceCommand)));
