/**
 * Where passphrases come from, with the built command line at a real pseudo-terminal, which is its controlling one: Ctrl-C there is a real
 * signal.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { Seat } from "../../test/support/host-tools/terminal-seat.js";
import { buildCli, hawser, temporaryDirectory, treeState } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, PASSPHRASE } from "../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

const INTERRUPTED = /\r\n[^\r\n]*error INTERRUPTED:[^\r\n]+ Next: Run the command again\.\r\n$/;
const CTRL_C = "\u0003";

async function expectInterrupted(seat: Seat): Promise<void> {
  expect(await seat.ended).toBe(130);
  await seat.shows(INTERRUPTED);
  expect(seat.isAsBefore).toBe(true);
}

/** Makes the command stop where it reads `path` until the returned function is called; resolves when it is there. */
async function heldAt(path: string, content: string, start: () => Promise<Seat>): Promise<{ seat: Seat; release: () => Promise<void> }> {
  mkdirSync(dirname(path), { recursive: true });
  execFileSync("mkfifo", ["-m", "600", path]);
  const seat = await start();
  // A pipe opens when its reader is there.
  const pipe = await open(path, "w");
  return {
    seat,
    release: async () => {
      await pipe.writeFile(content);
      await pipe.close();
    },
  };
}

describe("a stop at the passphrase prompt", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("by %s ends the command at once, like Ctrl-C", async (signal) => {
    for (const stop of [(seat: Seat) => seat.child.kill(signal), (seat: Seat) => seat.type(CTRL_C)]) {
      const seat = await Seat.at(["ca", "init", "--dir", "ca"], temporaryDirectory());
      await seat.shows(/Passphrase for the CA directory ca: $/);
      expect(seat.isAsBefore).toBe(false);
      stop(seat);
      await expectInterrupted(seat);
    }
  });

  test("at the second question and with a CA that is there changes nothing", async () => {
    const cwd = await directoryWithCa();
    const before = treeState(cwd);
    const init = await Seat.at(["ca", "init", "--dir", "new"], cwd);
    await init.shows(/new: $/);
    init.type("a new one\r");
    await init.shows(/The same again: $/);
    init.child.kill("SIGTERM");
    await expectInterrupted(init);
    const crl = await Seat.at(["ca", "crl", "--dir", "ca"], cwd);
    await crl.shows(/: $/);
    crl.child.kill("SIGTERM");
    await expectInterrupted(crl);
    expect(treeState(cwd)).toEqual(before);
  });

  test("keeps its form with --json", async () => {
    const seat = await Seat.at(["ca", "init", "--dir", "ca", "--json"], temporaryDirectory());
    await seat.shows(/: $/);
    seat.child.kill("SIGTERM");
    expect(await seat.ended).toBe(130);
    await seat.shows(/\r\n\{"error":\{"code":"INTERRUPTED",.*\}\}\r\n$/);
  });
});

describe("a stop before the passphrase prompt", () => {
  test.each([
    ["Ctrl-C", (seat: Seat) => seat.type(CTRL_C)],
    ["SIGTERM", (seat: Seat) => seat.child.kill("SIGTERM")],
  ])("by %s lets no prompt appear", async (by, stop) => {
    const cwd = await directoryWithCa();
    const env = { HAWSER_STATE_DIR: join(cwd, "state") };
    const { seat, release } = await heldAt(witnessFile(join(cwd, "ca"), env), "", () => Seat.at(["ca", "crl", "--dir", "ca"], cwd, env));
    stop(seat);
    // The kernel shows Ctrl-C as it makes the signal.
    if (by === "Ctrl-C") await seat.shows(/\^C/);
    await release();
    expect(await seat.ended).toBe(130);
    await seat.shows(/error INTERRUPTED:[^\r\n]+\r\n$/);
    expect(seat.screen).not.toContain("Passphrase");
    expect(seat.isAsBefore).toBe(true);
  });

  test("is heeded where the vault's passphrase is asked for after the CA's was found", async () => {
    const cwd = await directoryWithCa();
    const args = ["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v", "--ca-passphrase-file", "held"];
    const { seat, release } = await heldAt(join(cwd, "held"), `${PASSPHRASE}\n`, () => Seat.at(args, cwd));
    seat.child.kill("SIGTERM");
    await release();
    expect(await seat.ended).toBe(130);
    await seat.shows(/error INTERRUPTED:[^\r\n]+\r\n$/);
    expect(seat.screen).not.toContain("Passphrase");
  });
});

describe("a passphrase file on the command line", () => {
  function secret(cwd: string, name: string, content: string): string {
    writeFileSync(join(cwd, name), content, { mode: 0o600 });
    return name;
  }

  test.each(["--passphrase-file", "--ca-passphrase-file"])("wins over the environment: %s", async (option) => {
    const cwd = temporaryDirectory();
    const env = { HAWSER_PASSPHRASE: "of the environment", HAWSER_CA_PASSPHRASE: "of the environment" };
    const made = await hawser(["ca", "init", "--dir", "ca", option, secret(cwd, "new", "of the file\nand a remark\n")], { cwd, env });
    expect(made.code).toBe(0);
    expect(await hawser(["ca", "crl", "--dir", "ca"], { cwd, env: { HAWSER_PASSPHRASE: "of the file" } })).toMatchObject({ code: 0 });
    expect((await hawser(["ca", "crl", "--dir", "ca"], { cwd, env })).stderr).toContain("WRONG_PASSPHRASE");
  });

  test.each([
    ["missing", undefined, /^error PASSPHRASE_FILE_UNREADABLE: .*ENOENT/],
    ["empty", "", /^error PASSPHRASE_REQUIRED: /],
    ["blank", " \n", /^error PASSPHRASE_REQUIRED: .* is blank\./],
    ["marked", "\ufeffwords\n", /^error PASSPHRASE_FILE_UNREADABLE: .*byte order mark/],
    ["/dev/zero", undefined, /^error PASSPHRASE_FILE_UNREADABLE: .*not a regular file/],
  ])("is an error when it is %s, though the environment has one", async (name, content, error) => {
    const cwd = temporaryDirectory();
    if (content !== undefined) secret(cwd, name, content);
    const before = treeState(cwd);
    const { code, stderr } = await hawser(["ca", "init", "--dir", "ca", "--passphrase-file", name], { cwd, env: ENV });
    expect([code, stderr]).toEqual([3, expect.stringMatching(error)]);
    expect(treeState(cwd)).toEqual(before);
  });

  test("must not be blank for a new vault in a CA that has another", async () => {
    const cwd = await directoryWithCa();
    const args = ["provision", "--dir", "ca", "--id", "sensor-1", "--vault", "v", "--vault-passphrase-file", secret(cwd, "blank", "   \n")];
    const { code, stderr } = await hawser(args, { cwd, env: ENV });
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^error PASSPHRASE_REQUIRED: .* is blank\./)]);
  });
});
