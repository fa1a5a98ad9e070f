/** Runs a product's own program on one simulated device on XS: the same program, told in the same lines. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DeviceEvent } from "../../../sdk/events.js";
import type { ProgramPlan } from "../../../sim/program/program-plan.js";
import type { DeviceSettings } from "../../../sim/xs/device-protocol.js";
import { prepareXsProgram, XsProgram } from "../../../sim/xs/xs-program.js";
import type { Terminal } from "../terminal.js";
import { ProgramStory, type RunningProgram } from "./program-story.js";
import { openVaultStore } from "./vault-store.js";

const DRAIN_POLL_MS = 50;
const HEAP_EVERY_MS = 1_000;

export class XsProgramRun implements RunningProgram {
  readonly #listeners: ((event: DeviceEvent) => void)[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #xs: XsProgram | undefined;

  private constructor(
    readonly story: ProgramStory,
    private readonly plan: ProgramPlan,
    private readonly settings: DeviceSettings,
    private readonly closeStore: () => void,
  ) {}

  /**
   * Opens the vault, bundles the program, builds what is not built yet and starts the engine.
   * @throws HawserError as `Vault.open`, `prepareXsProgram` and `XsProgram.load`
   */
  static async load(
    plan: ProgramPlan,
    terminal: Terminal,
    vault: string,
    passphrase: string,
    settings: DeviceSettings,
  ): Promise<XsProgramRun> {
    const folder = mkdtempSync(join(tmpdir(), "hawser-xs-"));
    const store = openVaultStore(vault, passphrase);
    try {
      const files = await prepareXsProgram(plan.source, folder);
      const story: ProgramStory = new ProgramStory(plan, terminal, () => run.#xs?.id ?? "");
      const run: XsProgramRun = new XsProgramRun(story, plan, settings, () => store.close());
      run.#xs = await XsProgram.load(files, store, {
        event: (event) => {
          for (const listener of run.#listeners) listener(event);
        },
        publishing: () => story.publishing(),
        accepted: (topic) => story.accepted(topic),
        refused: (topic, code) => story.refused(topic, code),
        gaveUp: (topic, code) => story.gaveUp(topic, code),
        subscribed: (filter) => story.subscribed(filter),
        took: (topic) => story.took(topic),
        threw: (error) => story.threw(error),
        held: (stack) => story.held(stack),
        released: (tookMs) => story.released(tookMs),
        ended: (error) => story.ends(error),
      });
      return run;
    } catch (error) {
      store.close();
      throw error;
    } finally {
      // The engine has read it by now, and a kill later leaves nothing behind.
      rmSync(folder, { recursive: true, force: true });
    }
  }

  listen(listener: (event: DeviceEvent) => void): void {
    this.#listeners.push(listener);
  }

  async start(): Promise<void> {
    await this.#xs?.boot(this.settings, this.plan.sensors);
    for (const [name, everyMs] of Object.entries(this.plan.pressEveryMs))
      this.#timers.push(setInterval(() => this.#xs?.press(name), everyMs));
    this.#timers.push(setInterval(() => void this.#measure(), HEAP_EVERY_MS));
  }

  renew(): void {
    this.#xs?.renew();
  }

  async sent(): Promise<void> {
    this.#xs?.quiet();
    while (((await this.#xs?.waiting()) ?? 0) > 0) await delay(DRAIN_POLL_MS);
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#xs?.quiet();
    await this.#xs?.stop();
  }

  /** After `stop`. Gives the vault free. */
  close(): void {
    this.closeStore();
  }

  async #measure(): Promise<void> {
    const figures = await this.#xs?.heap().catch(() => undefined);
    if (figures !== undefined) this.story.holds(figures.slotsUsed * figures.slotBytes + figures.chunkBytesUsed);
  }
}
