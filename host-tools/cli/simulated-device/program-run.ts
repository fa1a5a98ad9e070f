/** Runs a product's own program on one simulated device on Node. */
import { setTimeout as delay } from "node:timers/promises";
import type { DeviceConfig } from "../../../sdk/device/device.js";
import type { Program } from "../../../sdk/device/program.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { Platform } from "../../../sdk/platform.js";
import { loadProgram } from "../../../sim/fleet/program-members.js";
import { ProgramDevice } from "../../../sim/program/program-device.js";
import type { ProgramPlan } from "../../../sim/program/program-plan.js";
import type { Terminal } from "../terminal.js";
import { ProgramStory, type RunningProgram } from "./program-story.js";

const DRAIN_POLL_MS = 50;

export class ProgramRun implements RunningProgram {
  readonly story: ProgramStory;
  readonly #device: ProgramDevice;
  readonly #presses: NodeJS.Timeout[] = [];
  readonly #uncaught = (error: unknown): void => this.story.threw(error);

  private constructor(
    private readonly plan: ProgramPlan,
    private readonly program: Program,
    terminal: Terminal,
    config: DeviceConfig,
    platform: Platform,
  ) {
    this.story = new ProgramStory(plan, terminal, () => this.#device.id);
    this.#device = new ProgramDevice(config, platform, this.story);
    for (const [name, { lowest, highest }] of Object.entries(plan.sensors))
      this.#device.inputs.set(name, () => lowest + (highest - lowest) * platform.random.fraction());
  }

  /** @throws HawserError `BAD_PROGRAM` when the module cannot be loaded or exports no program */
  static async load(plan: ProgramPlan, terminal: Terminal, config: DeviceConfig, platform: Platform): Promise<ProgramRun> {
    // Lines are told as they were written, not as they were bundled.
    process.setSourceMapsEnabled(true);
    return new ProgramRun(plan, await loadProgram(plan), terminal, config, platform);
  }

  listen(listener: (event: DeviceEvent) => void): void {
    this.#device.listen(listener);
  }

  start(): void {
    process.on("uncaughtException", this.#uncaught);
    process.on("unhandledRejection", this.#uncaught);
    this.#device.boot(this.program);
    for (const [name, everyMs] of Object.entries(this.plan.pressEveryMs))
      this.#presses.push(setInterval(() => this.#device.press(name), everyMs));
  }

  renew(): void {
    this.#device.renew();
  }

  async sent(): Promise<void> {
    this.#device.quiet();
    while (this.#device.status.outbox.messages > 0) await delay(DRAIN_POLL_MS);
  }

  async stop(): Promise<void> {
    for (const press of this.#presses) clearInterval(press);
    this.#device.quiet();
    await this.#device.stop();
    process.off("uncaughtException", this.#uncaught);
    process.off("unhandledRejection", this.#uncaught);
  }
}
