/** The programs in examples/, against `hawser broker run`, as their README says to start them. */
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { expect, onTestFinished } from "vitest";
import { hawser, RunningCli, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const EXAMPLE_ENV = { HAWSER_PASSPHRASE: "correct horse battery staple" };

export class ExampleProgram {
  #said = "";
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly #looks = new Set<() => void>();

  constructor(cwd: string, path: string, ...args: string[]) {
    this.#child = spawn(process.execPath, [path, ...args], {
      cwd,
      env: { ...process.env, ...EXAMPLE_ENV },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on("data", (chunk: Buffer) => this.#hear(chunk.toString()));
    this.ended = new Promise((resolve) => this.#child.once("close", resolve));
    void this.ended.then(() => this.#hear(""));
    onTestFinished(() => void this.#child.kill("SIGKILL"));
  }

  /** Resolves when `words` were printed; rejects when the program ends without them. */
  says(words: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (words.test(this.#said)) resolve();
        else if (this.#child.exitCode === null && this.#child.signalCode === null) return;
        else reject(new Error(`ended without ${String(words)}: ${this.#said}`));
        this.#looks.delete(look);
      };
      this.#looks.add(look);
      look();
    });
  }

  kill(): Promise<unknown> {
    this.#child.kill("SIGKILL");
    return this.ended;
  }

  #hear(text: string): void {
    this.#said += text;
    for (const look of [...this.#looks]) look();
  }
}

/**
 * A site as README.md sets it up; `start` runs an example in it, with this site's ports.
 * @param folder where `import "hawser"` finds the package
 */
export async function exampleSite(folder: string): Promise<{ cwd: string; start: (name: string, ...args: string[]) => ExampleProgram }> {
  const cwd = temporaryDirectory();
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  const ports = ["--mtls-port", String(mtlsPort), "--psk-port", String(pskPort)];
  for (const args of [
    ["init", "fleet", ...ports],
    ["issue", "--dir", "fleet/ca", "--name", "gateway-1", "--role", "backend", "--out", "gateway-1"],
  ]) {
    expect(await hawser(args, { cwd, env: EXAMPLE_ENV })).toMatchObject({ code: 0 });
  }
  await new RunningCli(["broker", "run", "--dir", "fleet/ca", ...ports], { cwd, env: EXAMPLE_ENV }).waitFor("ready");
  return { cwd, start: (name, ...args) => new ExampleProgram(cwd, compiledExample(folder, name, mtlsPort, pskPort), ...args) };
}

export function compiledExample(folder: string, name: string, mtlsPort: number, pskPort: number): string {
  const source = readFileSync(join(ROOT, "examples", `${name}.ts`), "utf8")
    .replace(/\b8883\b/, String(mtlsPort))
    .replace(/\b8884\b/, String(pskPort));
  const compiled = join(folder, "examples");
  mkdirSync(compiled, { recursive: true });
  const path = join(compiled, `${name}.mjs`);
  writeFileSync(path, transformSync(source, { loader: "ts", format: "esm" }).code);
  writeFileSync(join(compiled, "own-pki.sh"), readFileSync(join(ROOT, "examples/own-pki.sh")));
  return path;
}
