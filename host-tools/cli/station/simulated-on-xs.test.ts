/** `hawser station run --simulated --engine xs`: boards on the chip's engine, with every fault. */
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";
import { passedIn } from "../../../test/support/station/drilled-station.js";
import { readLedger } from "../../station/factory/ledger.js";

beforeAll(buildCli);

const RUN = ["station", "run", "--dir", "ca", "--operator", "alice", "--ids", "m-{n}", "--simulated", "3", "--engine", "xs"];

it("passes boards on XS with every proof, and refuses those that must not pass", { timeout: 900_000 }, async () => {
  const cwd = await directoryWithCa();
  const env = { ...ENV, ...(process.env["HOME"] !== undefined && { HOME: process.env["HOME"] }) };
  // Seed 4 draws each fault among 24 boards. A wrong verdict, or an engine that ends, is an error of the command.
  const station = new RunningCli([...RUN, "--boards", "24", "--faults", "all", "--seed", "4"], { cwd, env });
  expect(await station.ended).toMatchObject({ code: 0, stderr: "" });
  const passed = passedIn(readLedger(join(cwd, "station")).lines);
  expect(passed.length).toBeGreaterThan(12);
  for (const { steps } of passed) expect(steps).toContain("connected");
  expect(new Set(passed.map(({ publicKeyHash }) => publicKeyHash)).size).toBe(passed.length);
  const listed = await hawser(["list", "--dir", "ca", "--json"], { cwd, env });
  expect(listed.stdout.match(/"state":"active"/g)).toHaveLength(passed.length);
});
