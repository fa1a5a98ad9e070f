/** A device on the XS host that runs a product's own program, driven by JSON lines (`program-protocol.ts`). The end of input stops it. */
import type { Program } from "../../sdk/device/program.js";
import type { ProgramCommand, ProgramCommands, ProgramOutput, SaidMessage, Thrown } from "./program-protocol.js";
import {
  base64Encode,
  errorCode,
  HawserError,
  host,
  nativeTls,
  openNativeKeyStore,
  ProgramDevice,
  utf8Encode,
  xsPlatform,
  type ProgramWitness,
} from "./program-library.js";

/** Holding the engine for so long, in time of the processor, is a fault: a busy machine is none. */
const HELD_MS = 1_000;

const say = (output: ProgramOutput): void => host.print(JSON.stringify(output));
const encoded = (payload: Uint8Array | string): string => base64Encode(typeof payload === "string" ? utf8Encode(payload) : payload);
const said = (topic: string, payload: Uint8Array | string, qos: number): SaidMessage => ({ topic, payload: encoded(payload), qos });

const witness: ProgramWitness = {
  publishing: (topic, payload, qos) => say({ publishing: said(topic, payload, qos) }),
  accepted: (topic, payload, qos) => say({ accepted: said(topic, payload, qos) }),
  refused: (topic, code) => say({ refused: { topic, code } }),
  gaveUp: (topic, code) => say({ gaveUp: { topic, code } }),
  subscribed: (filter) => say({ subscribed: { filter } }),
  took: (topic, payload) => say({ took: { topic, payload: encoded(payload) } }),
  threw: (error) => say({ threw: thrown(error) }),
  within: (run) => run(),
};

function thrown(error: unknown): Thrown {
  if (!(error instanceof Error)) return { text: String(error) };
  const { name, message: text, stack = "" } = error;
  const told = { name, message: text, stack };
  return error instanceof HawserError ? { ...told, code: error.code, nextStep: error.nextStep } : told;
}

let program: Program | undefined;
let device: ProgramDevice | undefined;

type Handlers = {
  [Name in keyof ProgramCommands]: (parameters: ProgramCommands[Name][0]) => ProgramCommands[Name][1] | Promise<ProgramCommands[Name][1]>;
};

const HANDLERS: Handlers = {
  async load({ path }) {
    const module = (await import(path)) as { default?: unknown };
    if (typeof module.default !== "function") throw new HawserError("BAD_PROGRAM", "the module exports no program");
    program = module.default as Program;
    return null;
  },
  boot({ settings, sensors }) {
    if (program === undefined) throw new HawserError("NOT_STARTED", "there is no program yet", "Send `load` first.");
    const platform = xsPlatform({ keyStore: openNativeKeyStore(), tls: nativeTls });
    device = new ProgramDevice(settings, platform, witness);
    device.listen((event) => say({ event }));
    for (const [name, { lowest, highest }] of Object.entries(sensors))
      device.inputs.set(name, () => lowest + (highest - lowest) * platform.random.fraction());
    say({ made: { id: device.id, base: device.topic("").slice(0, -1) } });
    device.boot(program);
    return null;
  },
  press({ button }) {
    device?.press(button);
    return null;
  },
  renew() {
    device?.renew();
    return null;
  },
  quiet() {
    device?.quiet();
    return null;
  },
  waiting: () => device?.status.outbox.messages ?? 0,
  async stop() {
    await device?.stop();
    return null;
  },
  heap() {
    host.collectGarbage();
    return { ...host.heapFigures() };
  },
};

async function obey(command: ProgramCommand): Promise<void> {
  try {
    const handler = HANDLERS[command.do] as (parameters: object) => unknown;
    say({ answer: command.call, result: await handler(command.with) });
  } catch (error) {
    const [message, nextStep] = error instanceof HawserError ? [error.message, error.nextStep] : [String(error), ""];
    say({ answer: command.call, error: { code: errorCode(error), message, nextStep } });
  }
}

async function end(): Promise<void> {
  await device?.stop();
  host.exit(0);
}

host.onRejection((reason) => witness.threw(reason));
host.onHeld(HELD_MS, (tookMs) => say(tookMs === undefined ? { held: { stack: new Error("held").stack ?? "" } } : { released: { tookMs } }));
// Whoever runs it asks for a renewal, and stops it, by a command.
host.onSignal(() => undefined);
host.onLine((line) => void (line === undefined ? end() : obey(JSON.parse(line) as ProgramCommand)));
