/** Runs a product's own program on one simulated device, shows what it does, and ends with what it throws, where a board would restart. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { HawserError } from "../../../sdk/errors.js";
import type { DeviceConfig } from "../../../sdk/device/device.js";
import type { Program } from "../../../sdk/device/program.js";
import type { Platform } from "../../../sdk/platform.js";
import { loadProgram } from "../../../sim/fleet/program-members.js";
import { ProgramDevice, type ProgramWitness } from "../../../sim/program/program-device.js";
import { ProgramFaults } from "../../../sim/program/program-faults.js";
import type { ProgramPlan } from "../../../sim/program/program-plan.js";
import type { Terminal } from "../terminal.js";

export class ProgramRun implements ProgramWitness {
  readonly device: ProgramDevice;
  /** Messages of the program that the device took. */
  taken = 0;
  /** Rejects with `PROGRAM_FAILED` when the program throws, now or in anything it started. */
  readonly broken: Promise<never>;
  #break: (error: HawserError) => void = () => undefined;
  #onAccepted: () => void = () => undefined;
  readonly #presses: NodeJS.Timeout[] = [];
  readonly #uncaught = (error: unknown): void => this.threw(error);

  private constructor(
    private readonly plan: ProgramPlan,
    private readonly program: Program,
    private readonly terminal: Terminal,
    config: DeviceConfig,
    platform: Platform,
  ) {
    this.broken = new Promise((_, reject) => (this.#break = reject));
    // Whoever is interested waits for it; nobody else has to.
    this.broken.catch(() => undefined);
    this.device = new ProgramDevice(config, platform, this);
    for (const [name, { lowest, highest }] of Object.entries(plan.sensors))
      this.device.inputs.set(name, () => lowest + (highest - lowest) * platform.random.fraction());
  }

  /** @throws HawserError `BAD_PROGRAM` when the module cannot be loaded or exports no program */
  static async load(plan: ProgramPlan, terminal: Terminal, config: DeviceConfig, platform: Platform): Promise<ProgramRun> {
    // Lines are told as they were written, not as they were bundled.
    process.setSourceMapsEnabled(true);
    return new ProgramRun(plan, await loadProgram(plan), terminal, config, platform);
  }

  start(): void {
    process.on("uncaughtException", this.#uncaught);
    process.on("unhandledRejection", this.#uncaught);
    this.device.boot(this.program);
    for (const [name, everyMs] of Object.entries(this.plan.pressEveryMs))
      this.#presses.push(setInterval(() => this.device.press(name), everyMs));
  }

  /** Resolves when the device took `count` messages. */
  async reaches(count: number): Promise<void> {
    while (this.taken < count) await new Promise<void>((resolve) => (this.#onAccepted = resolve));
  }

  async stop(): Promise<void> {
    for (const press of this.#presses) clearInterval(press);
    this.device.quiet();
    await this.device.stop();
    process.off("uncaughtException", this.#uncaught);
    process.off("unhandledRejection", this.#uncaught);
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
    this.terminal.event("subscribed", { filter }, filter);
  }

  took(topic: string): void {
    this.terminal.event("message", { topic }, `${topic}, taken by the program`);
  }

  threw(error: unknown): void {
    const faults = new ProgramFaults(() => 0);
    faults.threw(this.device.id, error, (file) => this.#isProgram(file));
    const { what = "", where = "" } = faults.all[0] ?? {};
    const place = where === "" ? "" : ` at ${where}`;
    this.#break(new HawserError("PROGRAM_FAILED", `the program throws: ${what}${place}`, "Fix the program: a board would restart here."));
  }

  within<Result>(run: () => Result): Result {
    return run();
  }

  #isProgram(file: string): boolean {
    const path = file.startsWith("file:") ? fileURLToPath(file) : file;
    if (path.includes("/node_modules/")) return false;
    return [this.plan.file, this.plan.source].some((one) => path.startsWith(`${dirname(one)}/`));
  }
}
