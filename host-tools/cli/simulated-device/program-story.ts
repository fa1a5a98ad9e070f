/** What a product's own program does on one device, line by line on either engine; and its end, where a board would restart. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { HawserError } from "../../../sdk/errors.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { describeProgramFault, ProgramFaults } from "../../../sim/program/program-faults.js";
import type { ProgramWitness } from "../../../sim/program/program-device.js";
import { steadyGrowth, WARM_MS } from "../../../sim/fleet/program-facts.js";
import type { ProgramPlan } from "../../../sim/program/program-plan.js";
import type { Terminal } from "../terminal.js";

/** One device with a program, as `sim run` needs it. */
export interface RunningProgram {
  readonly story: ProgramStory;
  listen(listener: (event: DeviceEvent) => void): unknown;
  start(): void | Promise<void>;
  renew(): void;
  /** Lets the program publish no more, and resolves when all that the device took of it is with the broker. */
  sent(): Promise<void>;
  stop(): Promise<void>;
}

/** What the SDK's own state moves in an engine whose heap is known exactly. */
const NOISE_BYTES = 16 * 1024;

export class ProgramStory implements ProgramWitness {
  /** Messages of the program that the device took. */
  taken = 0;
  /** Rejects with `PROGRAM_FAILED` when the program throws, now or in anything it started. */
  readonly broken: Promise<never>;
  #break: (error: HawserError) => void = () => undefined;
  #onAccepted: () => void = () => undefined;
  readonly #filters = new Set<string>();
  readonly #heap: { atMs: number; bytes: number }[] = [];
  #grows = false;
  /** What holds the engine now. */
  #held = "";

  /** @param id the device's, once it is known */
  constructor(
    private readonly plan: ProgramPlan,
    private readonly terminal: Terminal,
    private readonly id: () => string,
  ) {
    this.broken = new Promise((_, reject) => (this.#break = reject));
    // Whoever is interested waits for it; nobody else has to.
    this.broken.catch(() => undefined);
  }

  /** Resolves when the device took `count` messages. */
  async reaches(count: number): Promise<void> {
    while (this.taken < count) await new Promise<void>((resolve) => (this.#onAccepted = resolve));
  }

  /** It goes no further. */
  ends(error: HawserError): void {
    this.#break(error);
  }

  publishing(): void {
    // Told when it is accepted or refused.
  }

  accepted(topic: string): void {
    const n = ++this.taken;
    this.terminal.event("published", { n, topic }, `message ${n} to ${topic}`);
    this.#onAccepted();
  }

  refused(topic: string, code: string): void {
    this.terminal.event("publish-failed", { topic, code }, `message to ${topic}: ${code}`, "red");
  }

  gaveUp(topic: string, code: string): void {
    this.refused(topic, code);
  }

  subscribed(filter: string): void {
    this.#filters.add(filter);
    this.terminal.event("subscribed", { filter }, filter);
  }

  took(topic: string): void {
    this.terminal.event("message", { topic }, `${topic}, taken by the program`);
  }

  threw(error: unknown): void {
    const faults = new ProgramFaults(() => 0);
    faults.threw(this.id(), error, (file) => this.isProgram(file));
    const { what = "", where = "" } = faults.all[0] ?? {};
    const place = where === "" ? "" : ` at ${where}`;
    this.#break(new HawserError("PROGRAM_FAILED", `the program throws: ${what}${place}`, "Fix the program: a board would restart here."));
  }

  /** The program holds the engine; told while it does, so that an endless loop is named. */
  held(stack: string): void {
    this.#held = stack;
    this.#blocks(stack, "program-blocks", 0);
  }

  released(tookMs: number): void {
    this.#blocks(this.#held, "program-blocked", tookMs);
  }

  #blocks(stack: string, event: string, tookMs: number): void {
    const faults = new ProgramFaults(() => 0);
    faults.held(this.id(), stack, tookMs, (file) => this.isProgram(file));
    const [fault] = faults.all;
    if (fault === undefined) return;
    const text = tookMs === 0 ? `${fault.what} at ${fault.where}` : describeProgramFault(fault);
    this.terminal.event(event, { where: fault.where, ...(tookMs === 0 ? {} : { tookMs }) }, text, "red");
  }

  /** What the program's memory holds after a collection of garbage, in an engine that knows it exactly. A steady growth is told once. */
  holds(bytes: number): void {
    this.#heap.push({ atMs: performance.now(), bytes });
    const beganMs = this.#heap[0]?.atMs ?? 0;
    const growth = steadyGrowth(
      this.#heap.filter(({ atMs }) => atMs >= beganMs + WARM_MS),
      NOISE_BYTES,
    );
    const kilobytes = Math.round(((growth?.bytesPerMs ?? 0) * 60_000) / 1024);
    if (this.#grows || growth?.isSteady !== true || kilobytes <= this.plan.growthKilobytes) return;
    this.#grows = true;
    this.terminal.event(
      "program-grows",
      { kilobytesPerMinute: kilobytes },
      `the program's memory grows by ${kilobytes} KB a minute`,
      "red",
    );
  }

  /** What only the whole run can tell. */
  conclude(): void {
    if (this.#filters.size > 0) return;
    this.terminal.event("program-hears-nothing", {}, "the program subscribed to nothing: it takes no command", "yellow");
  }

  within<Result>(run: () => Result): Result {
    return run();
  }

  isProgram(file: string): boolean {
    const path = file.startsWith("file:") ? fileURLToPath(file) : file;
    if (path.includes("/node_modules/")) return false;
    return [this.plan.file, this.plan.source].some((one) => path.startsWith(`${dirname(one)}/`));
  }
}
