/** A vault whose process is killed at any moment opens again without repair and has lost nothing that was kept. */
import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildProgram, RunningProgram } from "../../../test/support/node/child-program.js";
import { TEST_SCRYPT_COST } from "./sealed.js";
import { Vault } from "./vault.js";

const KILLS = 10;
const room = mkdtempSync(join(tmpdir(), "hawser-vault-kill-"));
let program: string;
let running: RunningProgram | undefined;

beforeAll(() => {
  program = buildProgram(room, "vault-writer");
});

afterAll(async () => {
  await running?.kill();
  rmSync(room, { recursive: true });
});

it(`survives ${KILLS} kills in the middle of writing`, async () => {
  const path = join(room, "vault");
  Vault.create(path, "passphrase", { scryptCost: TEST_SCRYPT_COST }).close();
  let kept = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    running = new RunningProgram(program, [path, "passphrase"]);
    // Spread over the phases of the writer's loop, the same in each run of this test.
    const lines = 1 + (createHash("sha256").update(String(kill)).digest().readUInt8() % 20);
    await running.printed(lines);
    await running.kill();
    expect(running.lines.length).toBeGreaterThanOrEqual(lines);
    const printed = Number(running.lines.at(-1));
    const vault = Vault.open(path, "passphrase");
    const count = Number(Buffer.from(vault.storage.get("count") ?? []).toString("utf8"));
    expect(printed).toBeGreaterThan(kept);
    // What was printed was kept; one more write may have been finished but not printed.
    expect([printed, printed + 1]).toContain(count);
    const blink = vault.storage.get("blink");
    expect(blink === undefined || (blink.length === 2_000 && new Set(blink).size === 1)).toBe(true);
    expect(vault.keyStore.has("key-a") || printed === 1).toBe(true);
    const names = readdirSync(path, { recursive: true, encoding: "utf8" });
    expect(names.filter((name) => name.endsWith("~"))).toEqual([]);
    for (const name of names) expect([name, lstatSync(join(path, name)).mode & 0o077]).toEqual([name, 0]);
    vault.close();
    kept = count;
  }
});
