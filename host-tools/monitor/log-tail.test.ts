import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { LogTail } from "./log-tail.js";
import type { LogPosition } from "./log-tail.js";

const KEPT = 12;

/** A log, what rotates it, and a reader that can be killed at any line. */
class Scene {
  readonly directory = mkdtempSync(join(tmpdir(), "hawser-tail-"));
  readonly log = join(this.directory, "m.log");
  readonly lines: string[] = [];
  readonly gaps: string[] = [];
  position: LogPosition | undefined;
  #tail = this.#reader();
  #written = 0;
  #seconds = 1_700_000_000;

  constructor() {
    onTestFinished(() => this.remove());
    writeFileSync(this.log, "");
    this.#age(this.log);
  }

  remove(): void {
    this.#tail.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #reader(): LogTail {
    const tail: LogTail = new LogTail(
      this.log,
      {
        line: (text, end) => {
          this.lines.push(text);
          this.position = tail.positionAt(end);
        },
        generationEnded: () => undefined,
        gap: (detail) => this.gaps.push(detail),
      },
      this.position,
    );
    return tail;
  }

  write(count: number, to = this.log): void {
    for (let turn = 0; turn < count; turn += 1) appendFileSync(to, `${"x".repeat(this.#written % 90)} line ${(this.#written += 1)}\n`);
    this.#age(to);
  }

  /** Changes lie a second apart, as they do where a day's log is rotated. */
  #age(path: string): void {
    utimesSync(path, (this.#seconds += 1), this.#seconds);
  }

  poll(): Promise<void> {
    return this.#tail.poll();
  }

  /** As after a kill -9: what is known is the position of the last line. */
  restart(): void {
    this.#tail.close();
    this.#tail = this.#reader();
  }

  #shift(): void {
    for (let age = KEPT; age >= 1; age -= 1) {
      for (const end of ["", ".gz"])
        if (existsSync(`${this.log}.${age}${end}`)) renameSync(`${this.log}.${age}${end}`, `${this.log}.${age + 1}${end}`);
    }
  }

  rename(): void {
    this.#shift();
    renameSync(this.log, `${this.log}.1`);
    writeFileSync(this.log, "");
    this.#age(this.log);
  }

  copyAndTruncate(): void {
    this.#shift();
    copyFileSync(this.log, `${this.log}.1`);
    this.#age(`${this.log}.1`);
    truncateSync(this.log);
    this.#age(this.log);
  }

  compress(): void {
    const name = `${this.log}.1`;
    if (!existsSync(name)) return;
    const { atime, mtime } = statSync(name);
    writeFileSync(`${name}.gz`, gzipSync(readFileSync(name)));
    utimesSync(`${name}.gz`, atime, mtime);
    unlinkSync(name);
  }

  /** Numbers of the lines that came, in order. */
  get numbers(): number[] {
    return this.lines.map((line) => Number(/ line (\d+)$/.exec(line)?.[1]));
  }

  get expected(): number[] {
    return Array.from({ length: this.#written }, (_, index) => index + 1);
  }
}

type Step = { readonly name: "write" | "poll" | "restart" | "rename" | "copyAndTruncate" | "compress"; readonly count: number };

test("whatever rotates between two looks and wherever the reader is killed, each line comes once and in order", async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    name: fc.constantFrom("write", "write", "poll", "poll", "restart", "rename", "copyAndTruncate", "compress"),
    count: fc.integer({ min: 1, max: 30 }),
  });
  const property = fc.asyncProperty(
    fc
      .array(step, { minLength: 4, maxLength: 22 })
      .filter((steps) => steps.filter(({ name }) => name === "rename" || name === "copyAndTruncate").length <= KEPT),
    async (steps) => {
      const scene = new Scene();
      try {
        scene.write(3);
        await scene.poll();
        for (const { name, count } of steps) {
          if (name === "write") scene.write(count);
          else await scene[name]();
        }
        await scene.poll();
        await scene.poll();
        expect([scene.numbers, scene.gaps]).toEqual([scene.expected, []]);
      } finally {
        scene.remove();
      }
    },
  );
  await fc.assert(property, { numRuns: Number(process.env["HAWSER_TAIL_RUNS"] ?? 150) });
});

describe("a log that is rotated", () => {
  test("is read in the old file until the broker opens the new one", async () => {
    const scene = new Scene();
    scene.write(2);
    await scene.poll();
    scene.rename();
    scene.write(2, `${scene.log}.1`);
    await scene.poll();
    scene.write(1, `${scene.log}.1`);
    scene.write(2);
    await scene.poll();
    expect(scene.numbers).toEqual(scene.expected);
  });

  test("is found again after a restart even though it was compressed, and twice rotated since", async () => {
    const scene = new Scene();
    scene.write(40);
    await scene.poll();
    scene.write(40);
    scene.rename();
    scene.compress();
    scene.write(5);
    scene.rename();
    scene.compress();
    scene.write(5);
    scene.restart();
    await scene.poll();
    expect([scene.numbers, scene.gaps]).toEqual([scene.expected, []]);
  });

  test("and removed before its rest was read, is reported as a gap when nothing holds it open", async () => {
    const scene = new Scene();
    scene.write(3);
    await scene.poll();
    scene.write(3);
    scene.restart();
    unlinkSync(scene.log);
    writeFileSync(scene.log, "");
    await scene.poll();
    scene.write(1);
    await scene.poll();
    expect([scene.numbers, scene.gaps]).toEqual([[1, 2, 3, 7], [expect.stringMatching(/after byte \d+$/) as string]]);
  });

  test("and removed while it was read, is still read to its end", async () => {
    const scene = new Scene();
    scene.write(3);
    await scene.poll();
    scene.write(3);
    unlinkSync(scene.log);
    await scene.poll();
    scene.write(2);
    await scene.poll();
    expect([scene.numbers, scene.gaps]).toEqual([scene.expected, []]);
  });
});

test("an unfinished line waits for its end, and one longer than mosquitto's is skipped", async () => {
  const scene = new Scene();
  appendFileSync(scene.log, "first half");
  await scene.poll();
  appendFileSync(scene.log, ", second half\n");
  await scene.poll();
  appendFileSync(scene.log, "y".repeat(20_000));
  await scene.poll();
  appendFileSync(scene.log, "forged end\nnext\n");
  await scene.poll();
  expect(scene.lines).toEqual(["first half, second half", "next"]);
});

test("a pipe in a log's place is refused", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hawser-tail-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const tail = new LogTail(directory, { line: () => undefined, generationEnded: () => undefined, gap: () => undefined });
  await expect(tail.poll()).rejects.toMatchObject({ code: "NOT_A_LOG_FILE" });
});
