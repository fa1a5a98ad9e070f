/** Feeds one target a range of inputs and reports what came of them. Runs in whatever thread it is called in; what hangs here hangs it. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { HawserError } from "../../sdk/errors.js";
import { makeInput, type CorpusEntry } from "./inputs.js";
import { shrink } from "./shrink.js";
import type { Subject, Target } from "./fuzz-target.js";

export type FindingKind = "exception" | "slow" | "hang" | "memory";

export interface Finding {
  readonly target: string;
  readonly kind: FindingKind;
  /** Which input of the run it was. */
  readonly number: number;
  /** The input, made smaller where that was possible. */
  readonly input: Uint8Array;
  /** What happened, and the stack where there is one. */
  readonly what: string;
  /** Equal for findings that are likely to be the same defect. */
  readonly signature: string;
}

export interface RunOrder {
  readonly seed: string;
  /** Number of the first input; the corpus has the numbers from 0 on. */
  readonly first: number;
  readonly inputs: number;
  /** Stops early after so long, milliseconds. */
  readonly forMs?: number;
}

export interface Report {
  readonly target: string;
  inputs: number;
  elapsedMs: number;
  /** How often each outcome came. */
  readonly outcomes: Map<string, number>;
  /** What the heap and array buffers hold at the end beyond what they held after warming up, bytes. */
  growthBytes: number;
  readonly findings: Finding[];
}

/** After so many inputs the engine has compiled everything and caches are full. */
const WARM_UP_INPUTS = 3_000;
/** Of a run of any length. */
const MOST_GROWTH_BYTES = 8 * 1_048_576;
const MOST_LIVE_BYTES = 384 * 1_048_576;
/** No input of a few kilobytes takes so long, twice, on any machine that runs tests, milliseconds. */
const SLOW_MS = 2_000;
/** Rejections that nobody handles, and callbacks, come up between batches of so many inputs. */
export const BATCH_INPUTS = 64;
const LOOK_AT_MEMORY_EVERY = 2_048;
const MOST_FINDINGS = 20;

/** @param onInput told the number of each input before it is tried */
export async function runTarget(
  target: Target,
  corpus: readonly CorpusEntry[],
  order: RunOrder,
  onInput: (number: number) => void = () => undefined,
): Promise<Report> {
  const run = new TargetRun(target, corpus, order, await target.open());
  const unhandled = (error: unknown): void => run.unhandled(error);
  process.on("unhandledRejection", unhandled);
  try {
    return await run.run(onInput);
  } finally {
    process.off("unhandledRejection", unhandled);
  }
}

/** Tries one input, by itself. @returns its outcome, or what is wrong with it */
export async function tryInput(subject: Subject, input: Uint8Array): Promise<{ outcome: string } | { error: unknown }> {
  try {
    const outcome = subject(input);
    return { outcome: typeof outcome === "string" ? outcome : await outcome };
  } catch (error) {
    return error instanceof HawserError ? { outcome: error.code } : { error };
  }
}

class TargetRun {
  readonly #report: Report;
  readonly #signatures = new Set<string>();
  #rejections: unknown[] = [];
  #warmBytes: number | undefined;

  constructor(
    private readonly target: Target,
    private readonly corpus: readonly CorpusEntry[],
    private readonly order: RunOrder,
    private readonly subject: Subject,
  ) {
    this.#report = { target: target.name, inputs: 0, elapsedMs: 0, outcomes: new Map(), growthBytes: 0, findings: [] };
  }

  unhandled(error: unknown): void {
    this.#rejections.push(error);
  }

  async run(onInput: (number: number) => void): Promise<Report> {
    const { first, inputs, forMs = Infinity } = this.order;
    const began = performance.now();
    for (let number = first; number < first + inputs && performance.now() - began < forMs; number++) {
      onInput(number);
      await this.#one(number);
      if (++this.#report.inputs % BATCH_INPUTS === 0) await this.#settle(number);
      if (this.#report.inputs % LOOK_AT_MEMORY_EVERY === 0) this.#lookAtMemory(number);
      if (this.#report.inputs === WARM_UP_INPUTS) this.#warmBytes = liveBytes();
      if (this.#report.findings.length >= MOST_FINDINGS) break;
    }
    const last = first + this.#report.inputs - 1;
    await this.#settle(last);
    this.#report.elapsedMs = performance.now() - began;
    this.#report.growthBytes = this.#warmBytes === undefined ? 0 : liveBytes() - this.#warmBytes;
    if (this.#report.growthBytes > MOST_GROWTH_BYTES)
      this.#find("memory", last, this.#input(last), `the heap grew by ${this.#report.growthBytes} bytes over the run`);
    return this.#report;
  }

  #input(number: number): Uint8Array {
    return makeInput(this.target, this.corpus, this.order.seed, number);
  }

  async #one(number: number): Promise<void> {
    const input = this.#input(number);
    const began = performance.now();
    const result = await tryInput(this.subject, input.slice());
    if ("error" in result) return this.#failed(number, input, result.error);
    this.#report.outcomes.set(result.outcome, (this.#report.outcomes.get(result.outcome) ?? 0) + 1);
    if (performance.now() - began > SLOW_MS) await this.#judgeSlow(number, input);
  }

  /** Once may be the machine's fault. */
  async #judgeSlow(number: number, input: Uint8Array): Promise<void> {
    const began = performance.now();
    await tryInput(this.subject, input.slice());
    const tookMs = performance.now() - began;
    if (tookMs > SLOW_MS) this.#find("slow", number, input, `took ${Math.round(tookMs)} ms, twice`);
  }

  async #failed(number: number, input: Uint8Array, error: unknown): Promise<void> {
    const wanted = signature(error);
    if (this.#signatures.has(wanted)) return this.#count(wanted);
    this.#signatures.add(wanted);
    const small = await shrink(input, async (candidate) => {
      const result = await tryInput(this.subject, candidate.slice());
      return "error" in result && signature(result.error) === wanted;
    });
    this.#count(wanted);
    this.#find("exception", number, small, describe(error), wanted);
  }

  #count(wanted: string): void {
    const name = `FOUND ${wanted.slice(0, 60)}`;
    this.#report.outcomes.set(name, (this.#report.outcomes.get(name) ?? 0) + 1);
  }

  /** Lets unhandled rejections come up, and finds out whose they are. */
  async #settle(last: number): Promise<void> {
    await turn();
    if (this.#rejections.length === 0) return;
    for (let number = Math.max(this.order.first, last - BATCH_INPUTS + 1); number <= last; number++) {
      this.#rejections = [];
      const input = this.#input(number);
      await tryInput(this.subject, input.slice());
      await turn();
      const [error] = this.#rejections;
      if (error === undefined || this.#signatures.has(signature(error))) continue;
      this.#signatures.add(signature(error));
      this.#find("exception", number, input, `a promise was rejected and nobody handled it: ${describe(error)}`, signature(error));
    }
    this.#rejections = [];
  }

  #lookAtMemory(number: number): void {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    if (heapUsed + arrayBuffers < MOST_LIVE_BYTES || liveBytes() < MOST_LIVE_BYTES) return;
    this.#find("memory", number, this.#input(number), `${liveBytes()} bytes are alive`);
  }

  #find(kind: FindingKind, number: number, input: Uint8Array, what: string, signature: string = kind): void {
    this.#report.findings.push({ target: this.target.name, kind, number, input, what, signature });
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let collect: (() => void) | undefined;

/** Bytes in use after a full garbage collection. */
function liveBytes(): number {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Tells one defect from another: the message without its numbers, and the place. */
export function signature(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const place = (error.stack ?? "").split("\n").find((line) => line.trim().startsWith("at ") && !line.includes("promise ")) ?? "";
  return `${error.name}: ${error.message.replace(/\d+/g, "N").slice(0, 80)} ${place.trim().replace(/\(?[^ ]*\//, "")}`;
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error);
}
