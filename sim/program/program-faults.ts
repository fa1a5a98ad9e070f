/** Collects a program's faults: the same one on a thousand devices is one entry. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import type { ProgramFault } from "./program-plan.js";

const FAULTS_KEPT = 50;

export class ProgramFaults {
  readonly #byKey = new Map<string, { -readonly [Key in keyof ProgramFault]: ProgramFault[Key] }>();
  readonly #nowMs: () => number;

  /** @param nowMs milliseconds since the devices began to start */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  add(kind: ProgramFault["kind"], id: string, what: string, where = "", tookMs = 0): void {
    const key = `${kind} ${what} ${where}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      known.count += 1;
      known.longestMs = Math.max(known.longestMs, tookMs);
    } else if (this.#byKey.size < FAULTS_KEPT) {
      this.#byKey.set(key, { kind, what, where, firstId: id, atMs: Math.round(this.#nowMs()), count: 1, longestMs: tookMs });
    }
  }

  /** @param isProgram whether a file of a stack belongs to the program */
  threw(id: string, error: unknown, isProgram: (file: string) => boolean): void {
    const code = errorCode(error);
    const name = error instanceof Error && error.name !== "Error" ? `${error.name}: ` : "";
    const what = `${code === "INTERNAL" ? name : `${code}: `}${errorMessage(error)}`;
    // The same mistake names another device in each message: the devices are counted, not the texts.
    this.add(
      "error",
      id,
      what.split(id).join("{id}").slice(0, 500),
      error instanceof Error ? programFrame(error.stack ?? "", isProgram)?.where : undefined,
    );
  }

  /** @param stack of what holds the engine: where none of it is the program's, it is no fault of the program's */
  held(id: string, stack: string, tookMs: number, isProgram: (file: string) => boolean): void {
    const frame = programFrame(stack, isProgram);
    if (frame === undefined) return;
    const name = frame.functionName === "" ? "" : ` in ${frame.functionName}()`;
    this.add("block", id, `the program blocks${name}`, frame.where, tookMs);
  }

  get all(): readonly ProgramFault[] {
    return [...this.#byKey.values()];
  }
}

/** The first frame of the stack that is the program's own: `main.ts:12`, and the function's name where it has one. */
function programFrame(stack: string, isProgram: (file: string) => boolean): { where: string; functionName: string } | undefined {
  for (const line of stack.split("\n")) {
    const match = /(?:at (?:async )?(.*?) ?\(|at )((?:file:\/\/)?\/[^()]+?):(\d+):\d+\)?$/.exec(line.trim());
    if (match?.[2] === undefined || !isProgram(match[2])) continue;
    const name = match[1] ?? "";
    return { where: `${match[2].split("/").at(-1) ?? ""}:${match[3] ?? ""}`, functionName: name === "<anonymous>" ? "" : name };
  }
  return undefined;
}

export function describeProgramFault({ what, where, firstId, count, longestMs, kind }: ProgramFault): string {
  const place = where === "" ? "" : ` at ${where}`;
  const times = count === 1 ? "once" : `${count} times`;
  return kind === "block"
    ? `${what}${place} for up to ${(longestMs / 1000).toFixed(1)} s, ${times}, first on ${firstId}`
    : `${what}${place}, ${times}, first on ${firstId}`;
}
