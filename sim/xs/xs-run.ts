/** Runs a device program on the XS host, as a child process that speaks JSON lines: one object a line on its standard input and output. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import { buildHost, type Bits, type NativeParts } from "./host-build.js";
import { runner32 } from "./thirty-two-bits.js";
import { serveStore, type HostStore } from "./store-server.js";

/** How the host ends when it is not the program that ends it (`sim/xs/host/host.h`). */
export const XS_EXIT = {
  usage: 64,
  heapFull: 81,
  stackOverflow: 82,
  namesFull: 83,
  uncaughtException: 84,
  unhandledRejection: 85,
  engineFailed: 86,
  moduleFailed: 87,
  storeGone: 88,
} as const;

/** The first one after the three streams. */
const STORE_DESCRIPTOR = 3;

export interface XsRunOptions {
  /** Absolute path of the program, an ES module. */
  program: string;
  args?: readonly string[];
  /** Default 64. */
  bits?: Bits;
  /** TLS engine and key store to build the host with; without it, plaintext only. */
  native?: NativeParts;
  /** Fixed sizes, as on a device; what is left out grows as needed. The process ends with `XS_EXIT.heapFull` when one is full. */
  heap?: { chunkBytes?: number; slotCount?: number; stackSlots?: number };
  /** What is outside the heap, in flash on a device: nothing; the engine's built-ins; also all code. Default `plain`. */
  inRom?: "plain" | "builtins" | "code";
  /** Modules by name, for `import`. */
  modules?: Readonly<Record<string, string>>;
  /** Names out of `modules` that run before the program and stay in ROM, as a device preloads them. Wants `inRom: "code"`. */
  preload?: readonly string[];
  /** Where records live. */
  storageFolder?: string;
  /** Where keys live. */
  keysFolder?: string;
  /** Records, and keys in a host built for that, are kept in this process instead. The program ends when this process does. */
  store?: HostStore;
  /** Takes each message as it comes; none is kept then. */
  onMessage?: (message: XsMessage) => void;
  /** Signals that a terminal sends to this process's group do not reach the program. */
  ownGroup?: boolean;
  /** With AddressSanitizer, and garbage collected at every allocation. Slow. */
  stress?: boolean;
}

export interface XsExit {
  code: number | undefined;
  signal: string | undefined;
  /** All it wrote to standard error. */
  errors: string;
}

/** One object from the program. */
export type XsMessage = Record<string, unknown>;

/** @throws HawserError `XS_NOT_STARTED`, and as {@link buildHost} and {@link runner32} */
export async function startXs(options: XsRunOptions): Promise<XsProcess> {
  const stress = options.stress ?? false;
  const host = await buildHost({ bits: options.bits ?? 64, stress, ...(options.native && { native: options.native }) });
  const [command = host, ...parameters] = [...(options.bits === 32 ? await runner32() : []), host];
  const child = spawn(command, [...parameters, ...hostParameters(options), options.program, ...(options.args ?? [])], {
    stdio: ["pipe", "pipe", "pipe", ...(options.store ? (["pipe"] as const) : [])],
    detached: options.ownGroup ?? false,
    // 32-bit AddressSanitizer finds leaks only where ptrace is allowed; a device program ends by being switched off, so leaks are the C
    // tests' matter.
    env: { PATH: process.env["PATH"] ?? "", ASAN_OPTIONS: "detect_leaks=0", UBSAN_OPTIONS: "print_stacktrace=1" },
  });
  // Once it runs, all that can go wrong with it is in how it ends.
  await once(child, "spawn").catch((error: unknown) => {
    throw new HawserError(
      "XS_NOT_STARTED",
      `the XS host ${host} cannot be started: ${errorMessage(error)}`,
      "Free some memory or processes. If the file is damaged, remove it to rebuild it.",
    );
  });
  if (options.store) serveStore(child.stdio[STORE_DESCRIPTOR] as Duplex, options.store);
  return new XsProcess(child, options.onMessage);
}

function hostParameters(options: XsRunOptions): string[] {
  const parameters: string[] = [];
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined) parameters.push(name, String(value));
  };
  if (options.inRom === "builtins") parameters.push("--clone");
  if (options.inRom === "code") parameters.push("--rom");
  if (options.stress) parameters.push("--stress");
  add("--chunks", options.heap?.chunkBytes);
  add("--slots", options.heap?.slotCount);
  add("--stack", options.heap?.stackSlots);
  add("--storage", options.storageFolder);
  add("--keys", options.keysFolder);
  if (options.store) add("--store", STORE_DESCRIPTOR);
  for (const [name, path] of Object.entries(options.modules ?? {})) add("--module", `${name}=${path}`);
  for (const name of options.preload ?? []) add("--preload", name);
  return parameters;
}

export class XsProcess {
  /** All messages so far, in order; none with `onMessage`. */
  readonly messages: XsMessage[] = [];
  /** Settles when the process has ended and all its output was read. */
  readonly exited: Promise<XsExit>;
  readonly #child: ChildProcess;
  readonly #take: (message: XsMessage) => void;
  readonly #waiting = new Set<() => void>();
  #ended: XsExit | undefined;
  #errors = "";

  constructor(child: ChildProcess, onMessage?: (message: XsMessage) => void) {
    this.#child = child;
    this.#take = onMessage ?? ((message) => void this.messages.push(message));
    if (child.stdout === null || child.stderr === null || child.stdin === null) throw new Error("a child without pipes");
    createInterface({ input: child.stdout }).on("line", (line) => this.#received(line));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    // A program that has ended reads no more: its exit tells the tale.
    child.stdin.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      child.on("close", (code, signal) => {
        this.#ended = { code: code ?? undefined, signal: signal ?? undefined, errors: this.#errors };
        this.#wake();
        resolve(this.#ended);
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  send(message: XsMessage): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends the program's standard input. */
  endInput(): void {
    this.#child.stdin?.end();
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#child.kill(signal);
  }

  /**
   * The first message, past or to come, that fits; looks from message number `from` on.
   * @throws HawserError `XS_ENDED` when the program ends before
   */
  async message(fits: (message: XsMessage) => boolean, from = 0): Promise<XsMessage> {
    for (let next = from; ;) {
      for (; next < this.messages.length; next++) {
        const message = this.messages[next] as XsMessage;
        if (fits(message)) return message;
      }
      if (this.#ended) throw endedError(this.#ended);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #received(line: string): void {
    const message = parsed(line);
    if (message === undefined) this.#errors += `not JSON: ${line}\n`;
    else this.#take(message);
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

/** What whoever still waits for the program is told. */
export function endedError({ code, signal, errors }: XsExit): HawserError {
  return new HawserError(
    "XS_ENDED",
    `the XS program ended with ${signal ?? code} before the expected output${errors === "" ? "" : `: ${errors.trim()}`}`,
    "See the signal, or the exit code in sim/xs/xs-run.ts.",
  );
}

function parsed(line: string): XsMessage | undefined {
  try {
    return JSON.parse(line) as XsMessage;
  } catch {
    return undefined;
  }
}
