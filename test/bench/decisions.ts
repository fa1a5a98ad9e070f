/**
 * `npm run bench:decisions`: how long brokers wait for the decision point. Questions are asked on schedule, whether or not the earlier ones
 * are answered: a slow answer makes the later ones wait, and their waiting counts, as at a broker whose clients do not hold back. Server
 * and asker have a process each.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { build } from "hdr-histogram-js";
import { startDecisionServer } from "../../host-tools/decision-point/decision-server.js";
import { defaultPolicy } from "../../host-tools/policy/default-policy.js";
import { PolicyEngine } from "../../host-tools/policy/policy-engine.js";
import { directoryOf } from "../../host-tools/policy/policy-model.js";
import { errorCode } from "../../sdk/errors.js";
import { CommandLine, errorText, rangeText } from "../../sim/virtual/cli/arguments.js";

const RANGES = {
  rate: { lowest: 1, highest: 100_000 },
  seconds: { lowest: 1, highest: 3600 },
  devices: { lowest: 1, highest: 1_000_000 },
} as const;
const USUAL = { rate: 5000, seconds: 10, devices: 100_000 } as const;
/** EMQX keeps eight by default, RabbitMQ ten. */
const CONNECTIONS = 16;
/** The first answers, before the server's code is compiled, count for nothing. */
const WARM_UP_MS = 1000;
const TARGET_MS = 2;

const HELP = `npm run bench:decisions -- [options]
  --rate N           questions a second, ${rangeText(RANGES.rate)} (default: ${USUAL.rate})
  --seconds N        ${rangeText(RANGES.seconds)} (default: ${USUAL.seconds}), after ${WARM_UP_MS / 1000} s that do not count
  --devices N        names, ${rangeText(RANGES.devices)} (default: ${USUAL.devices})
  --json             one JSON object

Exit codes: 0 measured; 1 failed; 2 a bad command line
`;

const nameOf = (index: number): string => `dev-${index}`;

async function serve(devices: number): Promise<void> {
  const names = Array.from(
    { length: devices },
    (_, index) => ({ name: nameOf(index), kind: "device", role: "sensor", attributes: {}, active: true, recoverable: true }) as const,
  );
  const engine = new PolicyEngine(defaultPolicy(), directoryOf(names));
  const { port } = await startDecisionServer(() => engine, { port: 0 });
  process.send?.(port);
  process.on("message", () => process.send?.(process.cpuUsage()));
  process.once("disconnect", () => process.exit());
}

/** One kept connection, one question on it at a time. */
class Asker {
  readonly #socket: Socket;
  #answered: ((allowed: boolean) => void) | undefined;
  #received = "";

  constructor(port: number) {
    this.#socket = connect({ host: "127.0.0.1", port, noDelay: true });
    this.#socket.setEncoding("utf8").on("data", (chunk: string) => this.#take(chunk));
  }

  async opened(): Promise<this> {
    await once(this.#socket, "connect");
    return this;
  }

  ask(body: string, answered: (allowed: boolean) => void): void {
    this.#answered = answered;
    this.#socket.write(
      `POST /emqx/authz HTTP/1.1\r\nhost: d\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: string): void {
    this.#received += chunk;
    if (!this.#received.endsWith("}")) return;
    const allowed = this.#received.includes('"allow"');
    this.#received = "";
    this.#answered?.(allowed);
  }
}

interface Settings {
  readonly rate: number;
  readonly seconds: number;
  readonly devices: number;
}

interface Measured {
  readonly questions: number;
  readonly wrong: number;
  readonly ms: { readonly p50: number; readonly p99: number; readonly p999: number; readonly most: number };
}

/** Every second question is about the name's own topic, every other about a neighbour's. */
function question(index: number, devices: number): { body: string; expected: boolean } {
  const [own, owner] = [index % devices, (index + (index % 2)) % devices];
  return {
    body: JSON.stringify({
      username: nameOf(own),
      clientid: nameOf(own),
      action: "publish",
      topic: `devices/${nameOf(owner)}/up/t`,
      qos: 1,
      retain: false,
    }),
    expected: own === owner,
  };
}

function questionsIn({ rate, seconds }: Settings): number {
  return Math.ceil((WARM_UP_MS / 1000 + seconds) * rate);
}

/** User and system time of the server's process so far. */
async function cpuMs(server: ChildProcess): Promise<number> {
  server.send("cpu");
  const [{ user, system }] = (await once(server, "message")) as [NodeJS.CpuUsage];
  return (user + system) / 1000;
}

async function askAll(port: number, settings: Settings): Promise<Measured> {
  const { rate, devices } = settings;
  const free = await Promise.all(Array.from({ length: CONNECTIONS }, () => new Asker(port).opened()));
  const all = [...free];
  const histogram = build({ numberOfSignificantValueDigits: 3, useWebAssembly: false });
  const waiting: { index: number; dueMs: number }[] = [];
  const total = questionsIn(settings);
  const startedMs = performance.now();
  const dueOf = (index: number): number => startedMs + (index * 1000) / rate;
  let [sent, answered, wrong] = [0, 0, 0];
  await new Promise<void>((resolve) => {
    const next = (): void => {
      const due = waiting[0];
      const asker = due === undefined ? undefined : free.pop();
      if (due === undefined || asker === undefined) return;
      waiting.shift();
      const { body, expected } = question(due.index, devices);
      asker.ask(body, (allowed) => {
        // By its number: a sum of times may round the first one that counts away.
        if ((due.index * 1000) / rate >= WARM_UP_MS) histogram.recordValue(Math.max(1, Math.round((performance.now() - due.dueMs) * 1000)));
        if (allowed !== expected) wrong += 1;
        free.push(asker);
        answered += 1;
        if (answered === total) resolve();
        next();
      });
      next();
    };
    const tick = (): void => {
      const nowMs = performance.now();
      for (let dueMs = dueOf(sent); sent < total && dueMs <= nowMs; dueMs = dueOf(sent)) waiting.push({ index: sent++, dueMs });
      next();
      if (sent < total) setImmediate(tick);
    };
    tick();
  });
  all.forEach((asker) => asker.close());
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return { questions: histogram.totalCount, wrong, ms: { p50: at(50), p99: at(99), p999: at(99.9), most: histogram.maxValue / 1000 } };
}

async function measure(args: readonly string[]): Promise<void> {
  const commandLine = new CommandLine("npm run bench:decisions");
  const { values } = commandLine.parse({
    args: [...args],
    options: {
      rate: { type: "string" },
      seconds: { type: "string" },
      devices: { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return void process.stdout.write(HELP);
  const read = (name: keyof Settings): number =>
    values[name] === undefined ? USUAL[name] : commandLine.wholeNumber(`--${name}`, values[name], RANGES[name]);
  const settings = { rate: read("rate"), seconds: read("seconds"), devices: read("devices") };
  const server = fork(fileURLToPath(import.meta.url), ["serve", String(settings.devices)]);
  try {
    const [port] = (await once(server, "message")) as [number];
    const before = await cpuMs(server);
    const measured = await askAll(port, settings);
    const cpuUs = Math.round((1000 * ((await cpuMs(server)) - before)) / questionsIn(settings));
    const [load] = loadavg();
    if (values.json === true) process.stdout.write(`${JSON.stringify({ settings, ...measured, cpuUs, load })}\n`);
    else process.stdout.write(textOf(settings, measured, cpuUs, load ?? 0));
    if (measured.wrong > 0) throw new Error(`${measured.wrong} answers were wrong`);
  } finally {
    server.disconnect();
  }
}

function textOf({ rate, devices }: Settings, { questions, ms }: Measured, cpuUs: number, load: number): string {
  const isMet = ms.p99 < TARGET_MS;
  return `${questions} questions about ${devices} devices, ${rate} a second (load ${load.toFixed(1)})\np50 ${ms.p50} ms, p99 ${ms.p99} ms, p99.9 ${ms.p999} ms, most ${ms.most} ms\nthe server's CPU time a question: ${cpuUs} us\n${isMet ? "met   " : "missed"}  p99 below ${TARGET_MS} ms\n`;
}

try {
  const [part, devices] = process.argv.slice(2);
  await (part === "serve" ? serve(Number(devices)) : measure(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(errorText(error));
  process.exitCode = errorCode(error) === "BAD_ARGUMENT" ? 2 : 1;
}
