/**
 * `npm run bench:station [-- BOARDS [HEADS [BAUD]]]`: seconds a board at a station (80 boards at 8 heads of 115,200 baud without
 * arguments), where they go, and the least that the line allows; with the issuing key in a sealed file and in a token (SoftHSM), without
 * faults and with all of them.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BOARD_FAULTS } from "../../../sim/boards/board-faults.js";
import { initCa } from "../../../host-tools/ca/ca-creation.js";
import { tokenKey } from "../../../host-tools/pkcs11/token-signer.js";
import { boardPhases, quantile } from "./board-phases.js";
import { measureLine } from "./measured-line.js";
import type { MeasuredLine } from "./measured-line.js";

const PASSPHRASE = "of a CA that lives for a minute";
const PIN = "1234";
const SIGNATURES = 20;
const BITS_A_BYTE = 10;
const [boards = 80, heads = 8, baud = 115_200] = process.argv.slice(2).map(Number);
const room = mkdtempSync(join(tmpdir(), "hawser-station-"));
const print = (text: string): void => void process.stdout.write(`${text}\n`);
const s = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;

function report({ results, ledger, cyclesMs, boardsPerHour, cpuMs }: MeasuredLine): number {
  const sound = results.filter(({ fault, verdict }) => fault === undefined && verdict === "passed");
  const bytes = (way: "toBoard" | "toStation"): number =>
    quantile(
      sound.map(({ lineBytes }) => lineBytes[way]),
      0.5,
    );
  const [down, up] = [bytes("toBoard"), bytes("toStation")];
  const floorMs = ((down + up) * BITS_A_BYTE * 1_000) / baud;
  print(`  a board at each head, median        ${s(quantile(cyclesMs, 0.5))}, 95 % within ${s(quantile(cyclesMs, 0.95))}`);
  print(`  boards an hour                      ${Math.round(boardsPerHour)}`);
  print(`  least that the line allows          ${s(floorMs)}: ${down} bytes to the board and ${up} back at ${baud} baud`);
  for (const { name, tookMs } of boardPhases(ledger)) {
    print(`  ${name.padEnd(34)}  ${s(quantile(tookMs, 0.5))}, 95 % within ${s(quantile(tookMs, 0.95))}`);
  }
  print(`  CPU a board                         ${s(cpuMs.station)} the station, ${s(cpuMs.boards)} the boards`);
  return floorMs;
}

try {
  mkdirSync(join(room, "tokens"));
  writeFileSync(join(room, "softhsm.conf"), `directories.tokendir = ${join(room, "tokens")}\n`);
  writeFileSync(join(room, "pin"), PIN, { mode: 0o600 });
  const own = { SOFTHSM2_CONF: join(room, "softhsm.conf"), HAWSER_STATE_DIR: join(room, "state") };
  Object.assign(process.env, own);
  const env = { ...process.env, HAWSER_PASSPHRASE: PASSPHRASE, HAWSER_PIN_FILE: join(room, "pin") };
  execFileSync("softhsm2-util", ["--init-token", "--free", "--label", "bench", "--so-pin", "12345678", "--pin", PIN], { stdio: "ignore" });
  const uri = "pkcs11:token=bench;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so";
  const issuing = await tokenKey(uri, () => Promise.resolve(PIN), { type: "P-256" });
  await initCa(join(room, "file"), { name: "Bench", passphrase: PASSPHRASE });
  await initCa(join(room, "token"), { name: "Bench", passphrase: PASSPHRASE, signers: { issuing: () => Promise.resolve(issuing) } });
  let floorMs = 0;
  for (const [what, ca, faults] of [
    ["issuing key in a sealed file", "file", []],
    ["issuing key in a token", "token", []],
    ["issuing key in a token, half of the boards with a fault", "token", BOARD_FAULTS],
  ] as const) {
    print(`${boards} boards at ${heads} heads, ${what}`);
    const station = `${ca}-${faults.length === 0 ? "sound" : "faulty"}`;
    floorMs = report(await measureLine({ room, env, ca, station, heads, boards, baud, faults }));
  }
  const begunMs = performance.now();
  for (let one = 0; one < SIGNATURES; one += 1) await issuing.signer.sign(Buffer.from(`certificate ${one}`));
  const signatureMs = (performance.now() - begunMs) / SIGNATURES;
  const line = Math.round((heads * 3_600_000) / floorMs);
  print(
    `a signature of the token alone: ${s(signatureMs)}, ${Math.round(3_600_000 / signatureMs)} an hour; ${heads} lines allow ${line} boards an hour`,
  );
} finally {
  rmSync(room, { recursive: true, force: true });
}
