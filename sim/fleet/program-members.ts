/** The devices of a worker that run a product's program, and what was seen of them. */
import { pathToFileURL } from "node:url";
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { Program } from "../../sdk/device/program.js";
import type { ProgramAccount, ProgramPlan, ProgramReport } from "../program/program-plan.js";
import type { FleetIdentity, FleetPlan } from "./fleet-plan.js";
import type { FleetSurroundings } from "./fleet-surroundings.js";
import type { WorkerTally } from "./member-tally.js";
import { ProgramMember, TopicTable, type ProgramSurroundings } from "./program-member.js";
import { ProgramWatch } from "./program-watch.js";

export class ProgramMembers {
  readonly #members: ProgramMember[] = [];
  readonly #around: ProgramSurroundings;
  #startedMs = performance.now();

  private constructor(plan: FleetPlan, programPlan: ProgramPlan, program: Program, surroundings: FleetSurroundings) {
    const watch = new ProgramWatch(programPlan, () => performance.now() - this.#startedMs);
    watch.devices = () => this.#members.filter(({ isStarted }) => isStarted).length;
    watch.ownBytes = () => this.#members.reduce((sum, member) => sum + member.ownBytes, 0);
    this.#around = { plan, program, programPlan, watch, topics: new TopicTable(), surroundings };
  }

  /** @throws HawserError `BAD_PROGRAM` when the module cannot be loaded or exports no program */
  static async load(plan: FleetPlan, programPlan: ProgramPlan, surroundings: FleetSurroundings): Promise<ProgramMembers> {
    return new ProgramMembers(plan, programPlan, await loadProgram(programPlan), surroundings);
  }

  make(identity: FleetIdentity, tally: WorkerTally): ProgramMember {
    const member = new ProgramMember(this.#around, identity, tally);
    this.#members.push(member);
    return member;
  }

  startWatching(): void {
    this.#startedMs = performance.now();
    this.#around.watch.start(process.argv[1] ?? "");
  }

  /** Nothing more is published: memory that shrinks or grows from now on is not the program's. */
  settled(): void {
    this.#around.watch.stopMeasuring();
  }

  stopWatching(): Promise<void> {
    return this.#around.watch.stop();
  }

  accounts(): ProgramAccount[] {
    return this.#members.map((member) => member.account());
  }

  report(): ProgramReport {
    const { watch, topics } = this.#around;
    return { faults: watch.faults.all, topics: topics.all, heap: watch.heap, devices: this.#members.length };
  }
}

export async function loadProgram({ file, source }: Pick<ProgramPlan, "file" | "source">): Promise<Program> {
  const next =
    "Export the program as the module's default: a function that takes { device, scheduler, sensor, ... } (see docs/testing.md).";
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (error) {
    throw new HawserError("BAD_PROGRAM", `${source} cannot be loaded: ${errorMessage(error)}`, next);
  }
  if (typeof module.default !== "function") throw new HawserError("BAD_PROGRAM", `${source} exports no program`, next);
  return module.default as Program;
}
