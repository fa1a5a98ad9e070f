/** A simulated board of a factory on XS: what outlives its power, and an engine that ends by itself. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { StationLink } from "../../host-tools/station/station-link.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import type { BoardEngine, BoardFlash, PoweredBoard } from "../boards/board-engine.js";
import { xsBoards } from "./xs-board.js";

const programs = new ProgramFolder();
afterAll(() => programs.close());

let engine: BoardEngine;
beforeAll(async () => {
  engine = await xsBoards(programs.folder("boards"));
}, 600_000);

/** Patient: a busy machine starts an engine slowly. */
const PATIENCE = { ackTimeoutMs: 500, answerTimeoutMs: 5_000, attempts: 100 };

function powered(flash: BoardFlash): { board: PoweredBoard; link: StationLink } {
  const line = new Duplex({
    read: () => undefined,
    write(bytes: Uint8Array, _encoding, done) {
      board.receive(bytes);
      done();
    },
  });
  const about = { mac: "0200000000aa", firmware: "f1" };
  const board = engine.start(flash, { about, write: (bytes) => void line.push(bytes) });
  return { board, link: new StationLink(line, PATIENCE) };
}

const NONCE = Buffer.alloc(32, 7).toString("base64");

async function publicKeyOf(link: StationLink): Promise<string> {
  expect(await link.request("hello", { nonce: NONCE })).toMatchObject({ state: "empty", mac: "0200000000aa", firmware: "f1" });
  const { csr } = await link.request("generate", { id: "m-1" });
  const der = Buffer.from(String(csr), "base64");
  // The uncompressed point of a P-256 key follows this head of its SubjectPublicKeyInfo.
  const at = der.indexOf(Buffer.from("03420004", "hex"));
  expect(at).toBeGreaterThan(0);
  return der.subarray(at + 4, at + 68).toString("hex");
}

it("keeps its key without power, and another board has another", { timeout: 300_000 }, async () => {
  const flash = engine.newFlash();
  const first = powered(flash);
  const key = await publicKeyOf(first.link);
  await first.board.off();
  const again = powered(flash);
  expect(await publicKeyOf(again.link)).toBe(key);
  await again.board.off();
  const other = powered(engine.newFlash());
  expect(await publicKeyOf(other.link)).not.toBe(key);
  await other.board.off();
});

it("says when its engine ended by itself", { timeout: 300_000 }, async () => {
  const { board, link } = powered(engine.newFlash());
  await publicKeyOf(link);
  for (const pid of hostsOfThisProcess()) process.kill(pid, "SIGSEGV");
  await expect.poll(() => hostsOfThisProcess().length, { timeout: 60_000 }).toBe(0);
  await expect(board.off()).rejects.toMatchObject({ code: "XS_ENDED" });
});

function hostsOfThisProcess(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(join("/proc", pid, "stat"), "utf8");
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return stat.includes("(hawser-xs") && state !== "Z" && Number(parent) === process.pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}
