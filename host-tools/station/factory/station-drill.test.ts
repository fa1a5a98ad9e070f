/**
 * The whole station as it runs in a factory: heads, simulated boards with every fault, kill -9 of the station and a full disk on the way.
 * The boards live in this process, as real ones outlive a station. The long form: HAWSER_DRILL_BOARDS=1000 HAWSER_DRILL_HEADS=8 npx vitest
 * run host-tools/station/factory/station-drill.test.ts
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { BOARD_FAULTS, MUST_FAIL } from "../../../sim/boards/board-faults.js";
import { Jig, wrongVerdicts } from "../../../sim/boards/jig.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";
import { judged, passedIn } from "../../../test/support/station/drilled-station.js";
import { readLedger } from "./ledger.js";

beforeAll(buildCli);

const BOARDS = Number(process.env["HAWSER_DRILL_BOARDS"] ?? 9);
const HEADS = Number(process.env["HAWSER_DRILL_HEADS"] ?? 4);
const SEED = Number(process.env["HAWSER_DRILL_SEED"] ?? 11);
const [KILLS, FULL_DISKS] = BOARDS >= 100 ? [3, 2] : [1, 1];
const FIRMWARE = "meter-1.4.2";

/** Every file write fails from now on, as on a disk without room; pipes and sockets do not. */
function fillDisk(pid: number, isFull: boolean): void {
  execFileSync("prlimit", ["--pid", String(pid), `--fsize=${isFull ? "0" : "unlimited"}:unlimited`]);
}

describe("a station with every fault", { timeout: 7_200_000 }, () => {
  it(`gives each of ${BOARDS} boards one identity, killed and out of disk space on the way, and passes none without its proof`, async () => {
    const cwd = await directoryWithCa();
    const [port = 0] = await freePorts(1);
    const jig = new Jig({
      directory: join(cwd, "jig"),
      heads: HEADS,
      boards: BOARDS,
      faults: [...BOARD_FAULTS],
      seed: SEED,
      firmware: FIRMWARE,
      broker: { host: "127.0.0.1", port, serverName: "localhost" },
    });
    onTestFinished(() => jig.close());
    await jig.open();
    const args = [
      "station",
      "run",
      "--dir",
      "ca",
      "--operator",
      "alice",
      "--order",
      "4711",
      "--ids",
      "meter-{n:6}",
      "--firmware",
      FIRMWARE,
      "--broker-port",
      String(port),
      "--connect-within",
      "15s",
    ];
    const heads = jig.places.flatMap(({ name, port: path }) => ["--head", `${name}=${path}`]);
    const begunMs = performance.now();
    let running: RunningCli | undefined;
    const start = (): RunningCli => judged(new RunningCli([...args, ...heads], { cwd, env: ENV }), jig);
    /** When so many boards are sorted. */
    const sorted = async (count: number): Promise<void> => {
      while (jig.results.length < count) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    running = start();
    for (let trouble = 1; trouble <= KILLS + FULL_DISKS; trouble++) {
      await sorted(Math.floor((trouble * BOARDS) / (KILLS + FULL_DISKS + 1)));
      if (trouble % 2 === 1) {
        running.signal("SIGKILL");
        await running.ended;
        running = start();
      } else {
        await running.waitFor("head", ({ state }) => state === "empty");
        fillDisk(running.pid, true);
        await running.waitFor("head", ({ state }) => state === "held");
        fillDisk(running.pid, false);
      }
    }
    await jig.emptied;
    const boardsPerHour = Math.round((BOARDS * 3_600_000) / (performance.now() - begunMs));
    running.signal("SIGINT");
    expect(await running.ended).toMatchObject({ code: 0 });
    process.stdout.write(`station drill: ${BOARDS} boards at ${HEADS} heads, ${boardsPerHour} boards an hour, the troubles included\n`);

    expect(jig.results).toHaveLength(BOARDS);
    expect(wrongVerdicts(jig.results)).toEqual([]);
    const good = jig.results.filter(({ fault }) => fault === undefined || !MUST_FAIL.has(fault));
    const { lines } = readLedger(join(cwd, "station"));
    const passed = passedIn(lines);
    expect(passed.map(({ mac }) => mac).sort()).toEqual(good.map(({ mac }) => mac).sort());
    for (const facts of ["id", "mac", "publicKeyHash", "serial"] as const)
      expect(new Set(passed.map((board) => board[facts])).size).toBe(passed.length);
    for (const { steps } of passed)
      expect(steps).toEqual(["key", "csr-verified", "issued", "written", "read-back", "connected", "registered", "passed"]);
    // The registry has those boards and no others, each with the one certificate that the ledger names.
    const registry = openCaReadOnly(join(cwd, "ca")).list();
    const active = registry.map(({ name, state, certificates }) => ({
      id: name,
      state,
      serials: certificates.filter(({ status }) => status === "active").map(({ serial }) => serial),
    }));
    expect(active.sort(byId)).toEqual(passed.map(({ id, serial }) => ({ id, state: "active", serials: [serial] })).sort(byId));
    await provesItsSummary(cwd);
  });
});

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);

/** The signed summary stands, and falls with one digit of it or of the ledger. */
async function provesItsSummary(cwd: string): Promise<void> {
  const made = await hawser(["station", "summary", "--json"], { cwd });
  const { file } = JSON.parse(made.stdout) as { file: string };
  const verify = ["station", "verify", "--summary", file];
  expect(await hawser(verify, { cwd })).toMatchObject({ code: 0, stdout: expect.stringContaining("its ledger agrees") as string });
  const text = readFileSync(join(cwd, file), "utf8");
  writeFileSync(join(cwd, file), text.replace('"failures": 0', '"failures": 1'));
  expect(await hawser(verify, { cwd })).toMatchObject({ stderr: expect.stringContaining("BAD_SIGNATURE") as string });
  writeFileSync(join(cwd, file), text);
  const ledger = join(cwd, "station/ledger.jsonl");
  writeFileSync(ledger, readFileSync(ledger, "utf8").replace("meter-000001", "meter-000009"));
  expect(await hawser(verify, { cwd })).toMatchObject({ code: 6, stderr: expect.stringContaining("LEDGER_CORRUPT") as string });
}
