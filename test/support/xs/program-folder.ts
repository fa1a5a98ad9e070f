/** Test material: small programs for the XS host, in a folder of their own that goes away with the test. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startXs, type XsProcess, type XsRunOptions } from "../../../sim/xs/xs-run.js";

const PRELUDE = 'const print = (value) => native("xs_print")(JSON.stringify(value));\n';

/** Programs and the processes that run them; `close` kills what still runs and removes the files. */
export class ProgramFolder {
  readonly path = mkdtempSync(join(tmpdir(), "hawser-xs-"));
  readonly #running: XsProcess[] = [];

  /** Writes a module; `print(value)` is at hand in it. @returns its path */
  write(name: string, source: string): string {
    const path = join(this.path, name);
    writeFileSync(path, PRELUDE + source);
    return path;
  }

  folder(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  async start(options: XsRunOptions): Promise<XsProcess> {
    const running = await startXs(options);
    this.#running.push(running);
    return running;
  }

  /** Runs a program given as text to its end. */
  async run(
    source: string,
    options: Omit<XsRunOptions, "program"> = {},
  ): Promise<{ code: number | undefined; printed: unknown[]; errors: string }> {
    const running = await this.start({ ...options, program: this.write("main.mjs", source) });
    running.endInput();
    const { code, errors } = await running.exited;
    return { code, printed: running.messages, errors };
  }

  async close(): Promise<void> {
    for (const running of this.#running) {
      running.kill();
      await running.exited;
    }
    rmSync(this.path, { recursive: true, force: true });
  }
}
