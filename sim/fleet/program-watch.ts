/** Watches the product's programs of one process: which device threw, which one holds the event loop and where, how memory grows. */
import { AsyncLocalStorage } from "node:async_hooks";
import { findSourceMap } from "node:module";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { ProgramFaults } from "../program/program-faults.js";
import type { HeapSample, ProgramPlan } from "../program/program-plan.js";
import type { StallFrame, StallReport } from "./stall-watch.js";

/** What the stall watch calls in the stopped program to learn whose code runs. */
const RUNNING = "__hawserRunningDevice";
const BEAT_MS = 100;
/** Several of its looks. */
const LAST_WORDS_MS = 500;
/** Memory is measured so often; a collection of all garbage costs tens of milliseconds. */
const HEAP_EVERY_MS = 2_000;

export class ProgramWatch {
  readonly faults: ProgramFaults;
  readonly heap: HeapSample[] = [];
  /** Bytes that the run keeps itself, outside of the program's account. */
  ownBytes = (): number => 0;
  /** Devices that run. */
  devices = (): number => 0;
  readonly #context = new AsyncLocalStorage<string>();
  #beating: NodeJS.Timeout | undefined;
  #measuring: NodeJS.Timeout | undefined;
  readonly #folders: readonly string[];
  readonly #nowMs: () => number;
  #thread: Worker | undefined;

  constructor({ file, source }: Pick<ProgramPlan, "file" | "source">, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.faults = new ProgramFaults(nowMs);
    this.#folders = [file, resolve(source)].map((path) => `${dirname(path)}/`);
  }

  /** @param program path of this process's program, which the stall watch lies beside */
  start(program: string): void {
    const uncaught = (error: unknown): void => this.threw(this.#context.getStore() ?? "a device", error);
    process.on("uncaughtException", uncaught);
    process.on("unhandledRejection", uncaught);
    (globalThis as Record<string, unknown>)[RUNNING] = () => this.#context.getStore();
    const beats = new Int32Array(new SharedArrayBuffer(4));
    this.#beating = setInterval(() => void Atomics.add(beats, 0, 1), BEAT_MS).unref();
    this.#thread = new Worker(join(dirname(program), "stall-watch.js"), { workerData: { beats, running: RUNNING } });
    this.#thread.unref();
    this.#thread.on("message", (report: StallReport) => this.#stalled(report));
    this.#measuring = setInterval(() => this.#measure(), HEAP_EVERY_MS).unref();
  }

  /** Runs the program's code so that what it throws, now or later, is known to be this device's. */
  within<Result>(id: string, run: () => Result): Result {
    return this.#context.run(id, run);
  }

  threw(id: string, error: unknown): void {
    this.faults.threw(id, error, (file) => this.#isProgram(file));
  }

  stopMeasuring(): void {
    clearInterval(this.#measuring);
  }

  /** Waits for what the stall watch has to say of the last moments. */
  async stop(): Promise<void> {
    this.stopMeasuring();
    await delay(LAST_WORDS_MS);
    clearInterval(this.#beating);
    await this.#thread?.terminate();
  }

  /** A busy machine, and the SDK's own work, are not the program's fault: one of the frames must be the program's. */
  #stalled({ id, frames, tookMs }: StallReport): void {
    const frame = frames.map((one) => original(one)).find(({ url }) => url.startsWith("file:") && this.#isProgram(url));
    if (frame === undefined) return;
    const name = frame.functionName === "" ? "" : ` in ${frame.functionName}()`;
    this.faults.add("block", id ?? "a device", `the program blocks${name}`, `${frame.url.split("/").at(-1) ?? ""}:${frame.line}`, tookMs);
  }

  #isProgram(file: string): boolean {
    const path = file.startsWith("file:") ? fileURLToPath(file) : file;
    if (path.includes("/node_modules/") || path.startsWith(OWN_FOLDER)) return false;
    return this.#folders.some((folder) => path.startsWith(folder)) || !path.startsWith(OWN_SOURCES);
  }

  #measure(): void {
    globalThis.gc?.();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    this.heap.push({ atMs: Math.round(this.#nowMs()), devices: this.devices(), bytes: heapUsed + arrayBuffers - this.ownBytes() });
  }
}

/** Where the built SDK and this fleet lie, and the sources that their maps name: their frames are not the program's. */
const OWN_FOLDER = join(dirname(process.argv[1] ?? ""), "../../");
const OWN_SOURCES = join(OWN_FOLDER, "../");

/** The line as it was written, where the program came with a source map. */
function original(frame: StallFrame): StallFrame {
  if (!frame.url.startsWith("file:")) return frame;
  const entry = findSourceMap(fileURLToPath(frame.url))?.findEntry(frame.line - 1, frame.column);
  if (entry === undefined || !("originalSource" in entry)) return frame;
  const url = entry.originalSource.startsWith("file:") ? entry.originalSource : pathToFileURL(entry.originalSource).href;
  return { ...frame, url, line: entry.originalLine + 1 };
}
