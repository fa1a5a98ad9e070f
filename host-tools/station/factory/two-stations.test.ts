/**
 * Two real stations that draw their ids from one pattern, on one registry in PostgreSQL: each with a directory of the CA, or one of them
 * through a central authority. Every process is killed once on the way.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { BOARD_FAULTS } from "../../../sim/boards/board-faults.js";
import { Jig, wrongVerdicts } from "../../../sim/boards/jig.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { PostgresServer } from "../../../test/support/host-tools/postgres-server.js";
import { buildCli, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE } from "../../../test/support/host-tools/test-fleet.js";
import { judged, passedIn } from "../../../test/support/station/drilled-station.js";
import { openCa } from "../../ca/certificate-authority.js";
import { joinRegistry } from "../../ca/shared-registry.js";
import { verifyCa } from "../../ca/verification.js";
import { readLedger } from "./ledger.js";

const BOARDS = Number(process.env["HAWSER_DRILL_BOARDS"] ?? 20);
const HEADS = 3;
const FIRMWARE = "meter-1.4.2";

let server: PostgresServer;
beforeAll(async () => {
  buildCli();
  server = await PostgresServer.start();
}, 120_000);
afterAll(() => server.stop());

/** A CA whose registry is in PostgreSQL: `ca` is one machine's directory of it, `ca-2` another's. */
async function twoMachines(): Promise<string> {
  const cwd = await directoryWithCa();
  await (await openCa(join(cwd, "ca"), PASSPHRASE)).moveRegistry("postgres", { urlFile: server.urlFile });
  onTestFinished(async () => void (await server.query("DROP TABLE hawser_changes, hawser_snapshots")));
  await joinRegistry(join(cwd, "ca-2"), { passphrase: PASSPHRASE, urlFile: server.urlFile });
  return cwd;
}

interface Line {
  readonly name: string;
  readonly jig: Jig;
  readonly start: () => RunningCli;
}

/** @param issuer whose the certificates are */
async function line(cwd: string, name: string, seed: number, issuer: readonly string[]): Promise<Line> {
  const [port = 0] = await freePorts(1);
  const directory = join(cwd, `jig-${name}`);
  const broker = { host: "127.0.0.1", port, serverName: "localhost" };
  const faults = [...BOARD_FAULTS];
  const jig = new Jig({ directory, heads: HEADS, boards: BOARDS, faults, seed, firmware: FIRMWARE, broker });
  onTestFinished(() => jig.close());
  await jig.open();
  const heads = jig.places.flatMap(({ name: head, port: path }) => ["--head", `${head}=${path}`]);
  const order = ["--operator", name, "--order", "4711", "--ids", "meter-{n:6}", "--firmware", FIRMWARE];
  const proof = issuer.includes("--authority") ? ["--proof", "challenge"] : ["--broker-port", String(port), "--connect-within", "15s"];
  const args = ["station", "run", "--station", name, ...issuer, ...order, ...proof, ...heads];
  return { name, jig, start: () => judged(new RunningCli(args, { cwd, env: ENV }), jig) };
}

async function sorted({ jig }: Line, count: number): Promise<void> {
  await expect.poll(() => jig.results.length, { timeout: 600_000, interval: 20 }).toBeGreaterThanOrEqual(count);
}

describe.each([
  ["each with a directory of the CA", false],
  ["one of them through a central authority", true],
])("two stations on one registry, %s", { timeout: 1_200_000 }, (_how, isCentral) => {
  it("give no id twice and lose no board, whichever process is killed", async () => {
    const cwd = await twoMachines();
    const second = isCentral ? await central(cwd) : { issuer: ["--dir", "ca-2"], kill: () => Promise.resolve() };
    const lines = [await line(cwd, "line-1", 5, ["--dir", "ca"]), await line(cwd, "line-2", 6, second.issuer)];
    await Promise.all(
      lines.map(async (one, index) => {
        let running = one.start();
        await sorted(one, Math.floor(BOARDS / (3 - index)));
        running.signal("SIGKILL");
        await running.ended;
        running = one.start();
        if (index === 1) await second.kill();
        await one.jig.emptied;
        running.signal("SIGINT");
        expect(await running.ended).toMatchObject({ code: 0 });
      }),
    );

    for (const { jig } of lines) expect([jig.results.length, wrongVerdicts(jig.results)]).toEqual([BOARDS, []]);
    const passed = lines.flatMap(({ name }) => passedIn(readLedger(join(cwd, name)).lines));
    const good = lines.flatMap(({ jig }) => jig.results.filter(({ verdict }) => verdict === "passed"));
    expect(passed.map(({ mac }) => mac).sort()).toEqual(good.map(({ mac }) => mac).sort());
    for (const fact of ["id", "mac", "serial", "publicKeyHash"] as const)
      expect(new Set(passed.map((board) => board[fact])).size, fact).toBe(passed.length);

    const machines = [await openCa(join(cwd, "ca"), PASSPHRASE), await openCa(join(cwd, "ca-2"), PASSPHRASE)];
    for (const ca of machines) {
      const devices = (await ca.list()).filter(({ kind }) => kind === "device");
      const active = devices.filter(({ state }) => state === "active");
      expect(active.map(({ name, serial }) => [name, serial]).sort()).toEqual(passed.map(({ id, serial }) => [id, serial]).sort());
      for (const { certificates } of active) expect(certificates.filter(({ status }) => status === "active")).toHaveLength(1);
      expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
    }
  });
});

interface Central {
  /** Options of a station. */
  readonly issuer: readonly string[];
  /** Kills it and starts it again. */
  readonly kill: () => Promise<void>;
}

/** `hawser station authority` on the second machine. */
async function central(cwd: string): Promise<Central> {
  const [port = 0] = await freePorts(1);
  await json(cwd, "issue", "--dir", "ca", "--name", "line-2", "--role", "monitor", "--out", "line-2-credentials");
  const args = ["station", "authority", "--dir", "ca-2", "--batch", "line-2=1000", "--host", "127.0.0.1", "--port", String(port)];
  const start = async (): Promise<RunningCli> => {
    const authority = new RunningCli(args, { cwd, env: ENV });
    await authority.waitFor("ready");
    return authority;
  };
  const first = await start();
  return {
    issuer: ["--authority", `https://localhost:${port}`, "--authority-credentials", "line-2-credentials"],
    kill: async () => {
      first.signal("SIGKILL");
      await first.ended;
      await start();
    },
  };
}
