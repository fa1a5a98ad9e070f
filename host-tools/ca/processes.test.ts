/** Several processes on one CA, and processes that are killed. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunningProgram } from "../../test/support/node/child-program.js";
import { buildWorker } from "../../test/support/host-tools/build-worker.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";

const scene = new Scene();
const running: RunningProgram[] = [];
let room: string;
let worker: string;

beforeAll(() => {
  const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
  mkdirSync(cache, { recursive: true });
  room = mkdtempSync(join(cache, "ca-worker-"));
  worker = buildWorker(room);
});

afterAll(async () => {
  for (const program of running) await program.kill();
  rmSync(room, { recursive: true, force: true });
  await scene.clean();
});

function start(...args: string[]): RunningProgram {
  const program = new RunningProgram(worker, args);
  running.push(program);
  return program;
}

describe("processes that share a CA", () => {
  it("never provision one id twice", async () => {
    const { directory } = await scene.ca();
    const ids = Array.from({ length: 8 }, (_, i) => `dev${i}`);
    const programs = [
      start(directory, PASSPHRASE, ...ids),
      start(directory, PASSPHRASE, ...ids),
      start(directory, PASSPHRASE, ...[...ids].reverse()),
    ];
    await Promise.all(programs.map((program) => program.printed(1)));
    for (const program of programs) program.release();
    await Promise.all(programs.map((program) => program.ended));
    const lines = programs.flatMap((program) => program.lines);
    for (const id of ids) {
      expect(
        lines.filter((line) => line === `won ${id}`),
        id,
      ).toHaveLength(1);
      expect(
        lines.filter((line) => line === `lost ${id} ID_EXISTS`),
        id,
      ).toHaveLength(2);
      expect(openCaReadOnly(directory).get(id)).toMatchObject({ state: "active", certificates: [{ status: "active" }] });
    }
    expect(verifyAudit(directory)).toMatchObject({ ok: true, lines: 1 + 3 * ids.length });
  });

  it("leave a CA that needs no repair when they are killed, and names that can be provisioned", async () => {
    const { directory } = await scene.ca();
    for (let kill = 0; kill < 5; kill++) {
      const ids = Array.from({ length: 20 }, (_, i) => `dev${kill}-${i}`);
      const program = start(directory, PASSPHRASE, ...ids);
      await program.printed(1);
      program.release();
      const jitter = createHash("sha256").update(String(kill)).digest().readUInt8() % 8;
      await program.printed(2 + jitter);
      await program.kill();
      const won = program.lines.filter((line) => line.startsWith("won ")).map((line) => line.slice(4));
      const ca = await openCa(directory, PASSPHRASE);
      expect(verifyAudit(directory)).toMatchObject({ ok: true });
      const states = new Map((await ca.list()).map(({ name, state }) => [name, state]));
      for (const id of won) expect(states.get(id)).toBe("active");
      // What it was at when it died is done or can be done by the next.
      for (const id of ids.filter((name) => states.get(name) !== "active").slice(0, 2)) await provisionDevice(ca, id);
    }
    for (const { certificates } of openCaReadOnly(directory).list())
      expect(certificates.filter(({ status }) => status === "active")).toHaveLength(1);
  });
});
