/** A product's own program on the XS engine, driven from Node: it and the SDK's `Device` in a child process, over `program-protocol.ts`. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bundleProgram, PROGRAM_MODULES } from "../../firmware/build/program-bundle.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import { bundleDevice, exportsOf } from "../../firmware/build/xs-bundle.js";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { DeviceEvent } from "../../sdk/events.js";
import type { SensorRange } from "../program/program-plan.js";
import type { ProgramWitness } from "../program/program-device.js";
import type { DeviceSettings } from "./device-protocol.js";
import type { HeapFigures } from "./host-natives.js";
import { nativeParts } from "./native-parts.js";
import { ProgramLines } from "./program-lines.js";
import type { ProgramCommands, ProgramOutput, Thrown } from "./program-protocol.js";
import type { HostStore } from "./store-server.js";
import { XsCalls } from "./xs-calls.js";
import { endedError, startXs, XS_EXIT, type XsExit, type XsProcess } from "./xs-run.js";

/** Everything that the engine loads, on disk; used by any number of devices. */
export interface XsProgramFiles {
  readonly source: string;
  readonly program: string;
  readonly runner: string;
  readonly modules: Readonly<Record<string, string>>;
  readonly lines: ProgramLines;
}

/** Where the modules of {@link PROGRAM_MODULES} come from. */
const LIBRARY = "hawser/library";
const FACES: Readonly<Record<(typeof PROGRAM_MODULES)[number], string>> = {
  hawser: "sdk/index.ts",
  "hawser/mqtt": "sdk/mqtt/index.ts",
  "hawser/presets": "sdk/presets/index.ts",
  "hawser/reports": "sdk/reports/index.ts",
};

/** A program that holds the engine hears no command; it is killed then. */
const ANSWER_MS = 5_000;

/**
 * Bundles the program, the SDK and what runs it into a folder.
 * @throws HawserError `BAD_PROGRAM`, `BUNDLE_FAILED`
 */
export async function prepareXsProgram(source: string, folder: string): Promise<XsProgramFiles> {
  const program = join(folder, "own", "program.mjs");
  await bundleProgram(source, program);
  const sources = join(packageRoot(), "sim", "xs");
  const libraryEntry = join(sources, "program-library.ts");
  const library = await bundleDevice({ entry: libraryEntry, outputFile: join(folder, "library.mjs") });
  const runner = await bundleDevice({
    entry: join(sources, "program-runner.ts"),
    outputFile: join(folder, "runner.mjs"),
    separate: { [libraryEntry]: LIBRARY },
  });
  const modules: Record<string, string> = { [LIBRARY]: library.file };
  for (const [index, name] of PROGRAM_MODULES.entries()) {
    const names = await exportsOf(join(packageRoot(), FACES[name]));
    modules[name] = join(folder, `face-${index}.mjs`);
    writeFileSync(modules[name], `export { ${names.join(", ")} } from "${LIBRARY}";\n`);
  }
  const lines = new ProgramLines(program, readFileSync(program, "utf8"), readFileSync(`${program}.map`, "utf8"));
  return { source, program, runner: runner.file, modules, lines };
}

/** What whoever runs a program on XS hears of it. */
export interface XsProgramListener extends Omit<ProgramWitness, "within"> {
  event(event: DeviceEvent): void;
  /** The program holds the engine; `stack` as Node writes one. Told while it still does, and `released` when it does no longer. */
  held(stack: string): void;
  released(tookMs: number): void;
  /** The engine ended by itself. */
  ended(error: HawserError): void;
}

export class XsProgram {
  readonly #calls: XsCalls<ProgramCommands>;
  #isStopped = false;
  #made = { id: "", base: "" };

  private constructor(
    private readonly xs: XsProcess,
    private readonly files: XsProgramFiles,
    private readonly listener: XsProgramListener,
  ) {
    this.#calls = new XsCalls((message) => xs.send(message));
    void xs.exited.then((exit) => {
      const error = this.#isStopped ? endedError(exit) : this.#endOf(exit);
      this.#calls.end(error);
      if (!this.#isStopped) listener.ended(error);
    });
  }

  /**
   * Starts the engine and loads the program.
   * @throws HawserError `BAD_PROGRAM` when the module cannot be loaded or exports no program; as `startXs` and `nativeParts`
   */
  static async load(files: XsProgramFiles, store: HostStore, listener: XsProgramListener): Promise<XsProgram> {
    const xs = await startXs({
      program: files.runner,
      bits: 64,
      native: await nativeParts(64, { keys: "store" }),
      store,
      // In a group of its own: a terminal's Ctrl-C is this process's to answer.
      ownGroup: true,
      inRom: "code",
      modules: files.modules,
      preload: Object.keys(files.modules),
      // It says nothing before it is asked, so `loaded` is there by then.
      onMessage: (output) => loaded.#heard(output as unknown as ProgramOutput),
    });
    const loaded = new XsProgram(xs, files, listener);
    try {
      await loaded.#calls.call("load", { path: files.program });
      return loaded;
    } catch (error) {
      await loaded.kill();
      throw new HawserError(
        "BAD_PROGRAM",
        `${files.source} cannot be loaded on XS: ${errorMessage(error)}`,
        "Export the program as the module's default, and use only what XS has (see docs/testing.md).",
      );
    }
  }

  get pid(): number {
    return this.xs.pid;
  }

  /** The device's, once it boots. */
  get id(): string {
    return this.#made.id;
  }

  /** As `Device.topic`, once it boots. */
  topic(relative: string): string {
    return `${this.#made.base}/${relative}`;
  }

  /** Runs the program's synchronous part, then starts the device, as on a board. */
  async boot(settings: DeviceSettings, sensors: Readonly<Record<string, SensorRange>>): Promise<void> {
    await this.#calls.call("boot", { settings, sensors });
  }

  press(button: string): void {
    this.#say("press", { button });
  }

  renew(): void {
    this.#say("renew", {});
  }

  quiet(): void {
    this.#say("quiet", {});
  }

  /** How many messages the device holds that are not with the broker. */
  waiting(): Promise<number> {
    return this.#calls.call("waiting", {});
  }

  heap(): Promise<HeapFigures> {
    return this.#calls.call("heap", {});
  }

  /** Disconnects and ends the engine; kills it when the program holds it. */
  async stop(): Promise<void> {
    await Promise.race([this.#calls.call("stop", {}).catch(() => null), delay(ANSWER_MS, undefined, { ref: false })]);
    await this.kill();
  }

  async kill(): Promise<void> {
    this.#isStopped = true;
    this.xs.kill();
    await this.xs.exited;
  }

  /** An engine that has ended says so by itself. */
  #say<Name extends keyof ProgramCommands>(name: Name, parameters: ProgramCommands[Name][0]): void {
    this.#calls.call(name, parameters).catch(() => undefined);
  }

  #heard(output: ProgramOutput): void {
    const { listener } = this;
    if ("answer" in output) this.#calls.answered(output);
    else if ("made" in output) this.#made = output.made;
    else if ("event" in output) {
      if (output.event.type === "topics-changed") this.#made = { ...this.#made, base: output.event.base };
      listener.event(output.event);
    } else if ("publishing" in output)
      listener.publishing(output.publishing.topic, bytes(output.publishing.payload), output.publishing.qos);
    else if ("accepted" in output) listener.accepted(output.accepted.topic, bytes(output.accepted.payload), output.accepted.qos);
    else if ("refused" in output) listener.refused(output.refused.topic, output.refused.code);
    else if ("gaveUp" in output) listener.gaveUp(output.gaveUp.topic, output.gaveUp.code);
    else if ("subscribed" in output) listener.subscribed(output.subscribed.filter);
    else if ("took" in output) listener.took(output.took.topic, bytes(output.took.payload));
    else if ("threw" in output) listener.threw(this.#error(output.threw));
    else if ("held" in output) listener.held(this.files.lines.written(output.held.stack));
    else listener.released(output.released.tookMs);
  }

  #error(thrown: Thrown): unknown {
    if ("text" in thrown) return thrown.text;
    const { code, name, message, stack, nextStep } = thrown;
    const error = code === undefined ? new Error(message) : new HawserError(code, message, nextStep);
    return Object.assign(error, { stack: this.files.lines.written(stack), ...(code === undefined ? { name } : {}) });
  }

  /** What the host says of an end that the program brought about: a board would restart. */
  #endOf(exit: XsExit): HawserError {
    const what = ENDS.get(exit.code ?? 0);
    if (what === undefined) return endedError(exit);
    const place = /\((\/[^()]+:\d+):1\)/.exec(this.files.lines.written(exit.errors))?.[1]?.split("/").at(-1);
    return new HawserError(
      "PROGRAM_FAILED",
      `the program ends the engine: ${what}${place === undefined ? "" : ` at ${place}`}`,
      "Fix the program: a board would restart here.",
    );
  }
}

const ENDS: ReadonlyMap<number, string> = new Map([
  [XS_EXIT.stackOverflow, "it calls itself too deeply"],
  [XS_EXIT.heapFull, "it uses up the memory"],
  [XS_EXIT.namesFull, "it makes too many names"],
  [XS_EXIT.uncaughtException, "an exception that nobody catches"],
]);

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
