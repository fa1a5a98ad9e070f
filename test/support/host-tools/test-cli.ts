/** For tests: runs the built command line as its users do, in processes of their own, all of which are gone when the test is over. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { lockWithin } from "../../../sim/node/files/process-lock.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** The program under test. HAWSER_CLI names another one, for instance that of an installed package; then nothing is built. */
export const CLI = process.env["HAWSER_CLI"] ?? join(ROOT, "dist/host-tools/cli/main.js");
const BUILD_WAIT_MS = 60_000;

/** Builds the command line unless that was done since the last change of a source. Call it in `beforeAll`. */
export async function buildCli(): Promise<void> {
  if (process.env["HAWSER_CLI"] !== undefined) return;
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  const lock = await lockWithin(
    join(ROOT, "dist/.test-build"),
    BUILD_WAIT_MS,
    () => new HawserError("BUILD_BUSY" as never, "another process builds for too long"),
  );
  try {
    const builtMs = existsSync(CLI) ? statSync(CLI).mtimeMs : 0;
    const isStale = SOURCES.some((folder) => newestSourceMs(join(ROOT, folder)) >= builtMs);
    if (isStale) execFileSync(process.execPath, [join(ROOT, "build.mjs"), "--no-types"], { stdio: "pipe" });
  } finally {
    lock.release();
  }
}

const SOURCES = ["sdk", "sim", "host-tools"];

function newestSourceMs(directory: string): number {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts"),
  );
  return Math.max(0, ...files.map((file) => statSync(join(directory, file)).mtimeMs));
}

/** A new directory that goes away with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "hawser-cli-"));
  onTestFinished(() => removeDirectory(directory));
  return directory;
}

export interface CliOptions {
  cwd: string;
  /** Added to a nearly empty environment. */
  env?: Readonly<Record<string, string>>;
  /** What a command that runs to its end reads from its standard input. */
  input?: string;
  /** Takes what ends the process if it is still there. Default: done when the test is over; a run that many tests read outlives one. */
  atEnd?: (end: () => Promise<void>) => void;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export async function hawser(args: readonly string[], options: CliOptions): Promise<Finished> {
  const child = start(args, options);
  child.stdin?.end(options.input);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once("close", (...end) => resolve(end)),
  );
  return { code, signal, stdout: stdout(), stderr: stderr() };
}

/** One line of a running command's `--json` output. */
export type EventLine = Readonly<Record<string, unknown>>;

/** A command that runs until it is told to stop; its `--json` lines can be waited for. */
export class RunningCli {
  readonly events: EventLine[] = [];
  readonly ended: Promise<Finished>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  #over = false;

  constructor(args: readonly string[], options: CliOptions) {
    this.#child = start([...args, "--json"], options);
    this.#child.stdin?.end();
    const { stdout, stderr } = this.#child;
    const [out, err] = [collect(stdout), collect(stderr)];
    if (stdout) createInterface({ input: stdout }).on("line", (line) => this.#line(line));
    this.ended = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        this.#over = true;
        resolve({ code, signal, stdout: out(), stderr: err() });
        for (const look of this.#waiting) look();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The first event called `name`, past or to come, that also passes `also`. Fails when the command ends without it. */
  waitFor(name: string, also: (event: EventLine) => boolean = () => true): Promise<EventLine> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.events.find((event) => event["event"] === name && also(event));
        if (found === undefined && !this.#over) return;
        this.#waiting.delete(look);
        if (found !== undefined) resolve(found);
        else
          void this.ended.then(({ code, stderr }) =>
            reject(new Error(`ended with ${code} before "${name}": ${stderr} ${JSON.stringify(this.events)}`)),
          );
      };
      this.#waiting.add(look);
      look();
    });
  }

  #line(line: string): void {
    this.events.push(JSON.parse(line) as EventLine);
    for (const look of [...this.#waiting]) look();
  }
}

function start(args: readonly string[], { cwd, env, atEnd = onTestFinished }: CliOptions): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env: { PATH: process.env["PATH"] ?? "", ...env }, stdio: "pipe" });
  atEnd(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
  });
  return child;
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString("utf8");
}

/** Every file below a directory with its mode and a hash of its content: equal exactly when nothing changed. */
export function treeState(directory: string): Record<string, string> {
  const state: Record<string, string> = {};
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(directory, name);
    const stat = lstatSync(path);
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isDirectory()) state[name] = `directory ${mode}`;
    else if (stat.isSymbolicLink()) state[name] = `link ${readlinkSync(path)}`;
    else state[name] = `${mode} ${createHash("sha256").update(readFileSync(path)).digest("hex")}`;
  }
  return state;
}
