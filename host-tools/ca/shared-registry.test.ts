/** A registry that several machines share through PostgreSQL: each has a directory of its own. */
import { cpSync, existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { HawserError } from "../../sdk/errors.js";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { openBackup } from "../ca-directory/backup-file.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { readUnprovedState } from "../ca-directory/ca-files.js";
import { rememberRevision } from "../ca-directory/revision-witness.js";
import { parseDatabaseUrl } from "../ca-directory/database-address.js";
import { PostgresSession } from "../ca-directory/postgres-session.js";
import type { ListedName } from "../ca-directory/registry.js";
import { openCrl } from "../pki/signed-crl.js";
import { fromPem } from "../pki/pem.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority, OpenOptions } from "./certificate-authority.js";
import { openCaReadOnly, proveCa } from "./ca-without-passphrase.js";
import { restoreCa } from "./restore.js";
import { joinRegistry } from "./shared-registry.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
let server: PostgresServer;
let count = 0;

beforeAll(async () => {
  server = await PostgresServer.start();
}, 60_000);
afterEach(async () => {
  await scene.clean();
  if (!server.isRunning) await server.resume();
  await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots");
});
afterAll(() => server.stop());

/** A CA whose registry is shared. */
async function shared(options: OpenOptions = {}): Promise<CertificateAuthority> {
  const ca = await scene.ca({ name: `Shared ${(count += 1)}` }, options);
  await ca.moveRegistry("postgres", { urlFile: server.urlFile });
  return ca;
}

/** Another machine of the same CA. */
async function joined(passphrase = PASSPHRASE, options: OpenOptions = {}): Promise<CertificateAuthority> {
  const directory = join(scene.directory(), "ca");
  await joinRegistry(directory, { passphrase, urlFile: server.urlFile });
  return openCa(directory, passphrase, options);
}

async function names(ca: CertificateAuthority): Promise<string[]> {
  return (await ca.list()).map(({ name, state }) => `${name} ${state}`);
}

const failure = (code: string, message: RegExp): Partial<HawserError> => ({
  code: code as HawserError["code"],
  message: expect.stringMatching(message) as string,
});

describe("machines that share a registry", () => {
  it("see each other's changes, and agree byte for byte", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    await provisionDevice(second, "b");
    await first.revoke({ id: "b", reason: "keyCompromise" });
    expect(await names(second)).toEqual(["a active", "b revoked"]);
    expect(await names(first)).toEqual(["a active", "b revoked"]);
    for (const file of ["state.json", "audit.jsonl", "crl.pem", "registry/b.json", "revision"])
      expect(readFileSync(join(second.directory, file)), file).toEqual(readFileSync(join(first.directory, file)));
    expect((await verifyCa(second.directory, PASSPHRASE)).problems).toEqual([]);
    expect((await proveCa(second.directory, PASSPHRASE)).list().map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("give one name to one of them, however close they ask", async () => {
    const [first, second] = [await shared(), await joined()];
    for (let round = 0; round < 5; round += 1) {
      const asked = await Promise.allSettled([first, second].map((ca) => provisionDevice(ca, `dev${round}`)));
      expect(asked.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      const reasons = asked.flatMap((one) => (one.status === "rejected" ? [(one.reason as HawserError).code] : []));
      expect(reasons).toEqual(["ID_EXISTS"]);
      await first.takeIn();
      expect(openCaReadOnly(first.directory).get(`dev${round}`).certificates).toHaveLength(1);
    }
  });

  it("leave a name to the machine that provisions it, until another is told to take its place", async () => {
    const [first, second] = [await shared(), await joined()];
    const reservation = await first.reserve({ id: "a" });
    await expect(second.reserve({ id: "a" })).rejects.toMatchObject(failure("ID_EXISTS", /by another machine/));
    const device = await provisionDevice(second, "a", true);
    await expect(first.complete(reservation, (await testKey("a")).csr)).rejects.toMatchObject({ code: "NOT_RESERVED" });
    await expect(first.activate(reservation)).rejects.toMatchObject({ code: "NOT_RESERVED" });
    await first.abandon(reservation);
    expect((await second.list()).map(({ state, serial }) => [state, serial])).toEqual([["active", device.serial]]);
  });

  it("never sign one number of a revocation list twice", async () => {
    const [first, second] = [await shared(), await joined()];
    for (let round = 0; round < 4; round += 1) await Promise.all([first.renewCrl(), second.renewCrl()]);
    for (const ca of [first, second]) {
      await ca.takeIn();
      expect(readFileSync(join(ca.directory, "audit.jsonl"), "utf8").match(/"crl-renewed"/g)).toHaveLength(8);
      // A list has the number of the change that signed it.
      expect((await listIn(join(ca.directory, "crl.pem"), ca)).number).toBe(2 + 8);
    }
  });

  it("each bring their own brokers up to date, and leave the others' alone", async () => {
    const [first, second] = [await shared(), await joined()];
    const brokers = [first, second].map((ca) => ({ ca, out: join(scene.directory(), "broker") }));
    for (const { ca, out } of brokers) {
      const [mtlsPort, pskPort] = await freePorts();
      await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, plugin: false });
    }
    const { serial } = await provisionDevice(first, "a");
    await first
      .revoke({ id: "a", reason: "keyCompromise" })
      .catch((error: unknown) => expect(error).toMatchObject({ code: "OUTPUT_FAILED" }));
    const shutOut = (): Promise<boolean[]> =>
      Promise.all(brokers.map(async ({ ca, out }) => (await listIn(join(out, "crl.pem"), ca)).serials.includes(serial)));
    expect(await shutOut()).toEqual([true, false]);
    // Who only reads does not carry it, and leaves it to be carried.
    await proveCa(second.directory, PASSPHRASE);
    expect(await shutOut()).toEqual([true, false]);
    await second.takeIn();
    expect(await shutOut()).toEqual([true, true]);
    await first.takeIn();
    const own = brokers.map(({ ca }) => openCaReadOnly(ca.directory).outputs.map(({ directory }) => directory));
    expect(own).toEqual(brokers.map(({ out }) => [out]));
  });

  it("each have an authority, of which none ends the others' certificates", async () => {
    const cas = [await shared(), await joined(), await joined()];
    const issued: string[] = [];
    for (const ca of [...cas, ...cas]) {
      const { serial } = await ca.issueClient({ name: "hawser-authority", role: "authority", replace: true });
      issued.push(serial);
    }
    const [{ certificates }] = (await cas[0]?.list()) as [ListedName];
    // A certificate for each, and one for who renews; an operator's name has one alone.
    expect(certificates.filter(({ status }) => status === "active").map(({ serial }) => serial)).toEqual(issued.slice(-4));
    const [first, second] = cas as [CertificateAuthority, CertificateAuthority];
    for (const ca of [first, second]) await ca.issueClient({ name: "desk", role: "operator", replace: true });
    const desk = (await first.list()).find(({ name }) => name === "desk");
    expect(desk?.certificates.map(({ status }) => status)).toEqual(["superseded", "active"]);
  });

  it("forget no revocation as expired by a machine whose clock runs ahead, which changes nothing and still reads", async () => {
    let aheadMs = 4 * 60_000;
    const first = await shared();
    const second = await joined(PASSPHRASE, { now: () => Date.now() + aheadMs });
    const { serial } = await provisionDevice(second, "a");
    await first.revoke({ id: "a", reason: "unspecified" });
    const before = readFileSync(join(first.directory, "state.json"));
    for (aheadMs of [3 * 366 * 86_400_000, 6 * 60_000, -6 * 60_000]) {
      const wrong = failure(
        "CLOCK_WRONG",
        /^nothing was changed: by this machine's clock it is .*, by that of the registry's database .*PGSQL.* 20/,
      );
      await expect(second.renewCrl()).rejects.toMatchObject(wrong);
      const reservation = await second.reserve({ id: "a", role: "sensor", replace: true });
      await expect(second.complete(reservation, (await testKey("a")).csr)).rejects.toMatchObject(wrong);
      await second.abandon(reservation);
      expect(await names(second)).toEqual(["a revoked"]);
    }
    await first.takeIn();
    expect(readFileSync(join(first.directory, "state.json"))).toEqual(before);
    await first.renewCrl();
    expect((await listIn(join(first.directory, "crl.pem"), first)).serials).toContain(serial);
    // Nor does such a machine begin to share its own.
    const alone = await scene.ca({ name: "Alone" }, { now: () => Date.now() + 6 * 60_000 });
    await expect(alone.moveRegistry("postgres", { urlFile: server.urlFile })).rejects.toMatchObject({ code: "CLOCK_WRONG" });
    expect((await server.query("SELECT DISTINCT log FROM hawser_changes")).length).toBe(1);
  });

  it("read without waiting for who changes something", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    const holder = new PostgresSession(parseDatabaseUrl(server.url));
    try {
      await holder.ask("BEGIN");
      await holder.ask("LOCK TABLE hawser_changes IN EXCLUSIVE MODE");
      await second.takeIn();
      expect(await names(second)).toEqual(["a active"]);
      expect((await second.brokerMaterial()).pskFor("a")).toBeDefined();
      expect(await names(await openCa(second.directory, PASSPHRASE))).toEqual(["a active"]);
    } finally {
      holder.close();
    }
  });

  it("hear of each other without asking", async () => {
    const [first, second] = [await shared(), await joined()];
    const taken: Promise<void>[] = [];
    const heard = new Promise<void>((resolve) => {
      const take = async (): Promise<void> => {
        await second.takeIn();
        if (openCaReadOnly(second.directory).count !== 1) return;
        stop?.();
        resolve();
      };
      const stop = second.watchRegistry(() => void taken.push(take()));
    });
    await provisionDevice(first, "a");
    await heard;
    // One may still be under way, and the directory goes with the test.
    await Promise.all(taken);
    expect(openCaReadOnly(second.directory).get("a").name).toBe("a");
  });

  it("take a new passphrase over, which opens the snapshot for new machines too", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "before");
    await first.changePassphrase("another long passphrase", TEST_SCRYPT_COST);
    await expect(second.list()).rejects.toMatchObject({ code: "PASSPHRASE_CHANGED" });
    await expect(openCa(second.directory, PASSPHRASE)).rejects.toMatchObject({ code: "WRONG_PASSPHRASE" });
    await provisionDevice(await openCa(second.directory, "another long passphrase"), "a");
    await expect(joined()).rejects.toMatchObject({ code: "WRONG_PASSPHRASE" });
    expect(await names(await joined("another long passphrase"))).toEqual(["a active", "before active"]);
  });

  it("start a new one from the newest snapshot, and remove what nobody needs any more", async () => {
    const [first, late] = [await shared(), await joined()];
    for (const id of ["a", "b"]) {
      await provisionDevice(first, id);
      await first.addSnapshot();
    }
    await provisionDevice(first, "c");
    const [row] = await server.query(
      "SELECT min(revision) AS first, max(revision) AS last, (SELECT count(*) FROM hawser_snapshots) AS kept FROM hawser_changes",
    );
    expect(row).toMatchObject({ first: "6", last: "11", kept: "2" });
    expect(await names(await joined())).toEqual(["a active", "b active", "c active"]);
    await expect(late.list()).rejects.toMatchObject(failure("REGISTRY_BEHIND", /at change 2, .*from 6 on/));
  });
});

describe("a database that is away", () => {
  it("stops every change, and nothing that only reads", async () => {
    const away: string[] = [];
    const ca = await shared({ onAway: ({ code, message }) => away.push(`${code} ${message}`) });
    await provisionDevice(ca, "a");
    const before = readFileSync(join(ca.directory, "state.json"), "utf8");
    await server.kill();
    expect(await names(ca)).toEqual(["a active"]);
    expect(await names(ca)).toEqual(["a active"]);
    expect(away).toEqual([expect.stringMatching(/^REGISTRY_AWAY .*does not answer/)]);
    await expect(ca.revoke({ id: "a", reason: "unspecified" })).rejects.toMatchObject(failure("REGISTRY_AWAY", /ECONNREFUSED|ENOENT/));
    expect(readFileSync(join(ca.directory, "state.json"), "utf8")).toBe(before);
    // A process that starts now reads as well.
    expect((await proveCa(ca.directory, PASSPHRASE, "all", { onAway: ({ code }) => away.push(code) })).count).toBe(1);
    expect(await names(await openCa(ca.directory, PASSPHRASE, { onAway: ({ code }) => away.push(code) }))).toEqual(["a active"]);
    expect(away.slice(1)).toEqual(["REGISTRY_AWAY", "REGISTRY_AWAY"]);
    await server.resume();
    await ca.revoke({ id: "a", reason: "unspecified" });
    expect(await names(await joined())).toEqual(["a revoked"]);
  });

  it("that goes away while a change is made, leaves it done or undone on every machine", async () => {
    const [first, second] = [await shared(), await joined()];
    let down: Promise<void> | undefined;
    const killed = first.issueClient({ name: "dash", role: "backend", keep: () => void (down = server.kill()) });
    const { code } = await killed.then(
      () => ({ code: "none" }),
      (error: HawserError) => error,
    );
    await down;
    await server.resume();
    expect(["REGISTRY_AWAY", "REGISTRY_UNSURE"]).toContain(code);
    expect(await names(first)).toEqual(await names(second));
    if (code === "REGISTRY_AWAY") expect(await names(first)).toEqual([]);
    await second.issueClient({ name: "dash", role: "backend", replace: true });
    expect(await names(first)).toEqual(["dash active"]);
  });

  it("can be left for good, with what this machine knows", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    await second.takeIn();
    await server.query("DROP TABLE hawser_changes, hawser_snapshots");
    await expect(second.moveRegistry("files")).rejects.toMatchObject({ code: "REGISTRY_AWAY" });
    expect(await second.moveRegistry("files", { withoutDatabase: true })).toMatchObject({ from: "postgres", to: "files", names: 1 });
    await provisionDevice(second, "b");
    expect(await names(await openCa(second.directory, PASSPHRASE))).toEqual(["a active", "b active"]);
    await second.moveRegistry("postgres", { urlFile: server.urlFile });
    expect(await names(await joined())).toEqual(["a active", "b active"]);
    await expect(first.list()).rejects.toMatchObject({ code: "REGISTRY_ROLLED_BACK" });
  });
});

describe("a database that somebody else writes to", () => {
  const drills: readonly [what: string, code: string, message: RegExp, statement: string][] = [
    [
      "a change that was altered",
      "REGISTRY_TAMPERED",
      /change 4, it was not written by this CA/,
      "UPDATE hawser_changes SET body = replace(body, 'issued', 'Issued') WHERE revision = 4",
    ],
    [
      "a change that is no journal",
      "REGISTRY_TAMPERED",
      /change 3, it is not a journal/,
      "UPDATE hawser_changes SET body = 'x' WHERE revision = 3",
    ],
    ["a change that was cut out", "REGISTRY_TAMPERED", /change 4 is missing/, "DELETE FROM hawser_changes WHERE revision = 4"],
    [
      "changes in another order",
      "REGISTRY_TAMPERED",
      /change 3 does not follow/,
      "UPDATE hawser_changes AS a SET body = b.body, state = b.state FROM hawser_changes AS b WHERE (a.revision, b.revision) IN ((3, 4), (4, 3))",
    ],
    [
      "a change that is said to be another",
      "REGISTRY_TAMPERED",
      /change 3 is not the one/,
      "UPDATE hawser_changes SET state = 'x' WHERE revision = 3",
    ],
    [
      "a far change that this CA did not write",
      "REGISTRY_TAMPERED",
      /begins with change 99, which this CA did not write/,
      "UPDATE hawser_changes SET revision = 99, body = 'x' WHERE revision = 2; DELETE FROM hawser_changes WHERE revision < 99",
    ],
    [
      "a change of this CA under a far number",
      "REGISTRY_TAMPERED",
      /begins with change 99/,
      "UPDATE hawser_changes SET revision = 99 WHERE revision = 4; DELETE FROM hawser_changes WHERE revision < 99",
    ],
    ["a log that was put back", "REGISTRY_ROLLED_BACK", /ends before change 2/, "DELETE FROM hawser_changes"],
    ["another history", "REGISTRY_FORKED", /change 2 .* is not the one/, "UPDATE hawser_changes SET state = 'x' WHERE revision = 2"],
  ];

  it.each(drills)("%s is named, and nothing of it is taken in", async (_what, code, message, statement) => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    await server.query(statement);
    await expect(second.takeIn()).rejects.toMatchObject(failure(code, message));
    await expect(proveCa(second.directory, PASSPHRASE)).rejects.toMatchObject({ code });
    await expect(second.issueClient({ name: "dash", role: "backend" })).rejects.toMatchObject({ code });
    expect((await verifyCa(second.directory, PASSPHRASE, { isAlone: true })).problems).toEqual([]);
    expect(
      openCaReadOnly(second.directory)
        .list()
        .filter(({ state }) => state === "active"),
    ).toEqual([]);
  });

  it("the newest changes cut off are noticed by the machine that has seen them", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    await server.query("DELETE FROM hawser_changes WHERE revision > 3");
    await second.issueClient({ name: "dash", role: "backend" });
    await expect(first.list()).rejects.toMatchObject({ code: "REGISTRY_ROLLED_BACK" });
    await second.issueClient({ name: "dash2", role: "backend" });
    await second.issueClient({ name: "dash3", role: "backend" });
    await expect(first.list()).rejects.toMatchObject({ code: "REGISTRY_FORKED" });
  });

  it("the newest changes cut off are no way in for a user who has seen them, wherever the directory is to be", async () => {
    const ca = await shared();
    await provisionDevice(ca, "thief");
    await ca.revoke({ id: "thief", reason: "keyCompromise" });
    await server.query("DELETE FROM hawser_changes WHERE revision > 5");
    const refused = failure("REGISTRY_ROLLED_BACK", /ends with change 5, and .* was at change 6/);
    await expect(joined()).rejects.toMatchObject(refused);
    renameSync(ca.directory, `${ca.directory}.old`);
    await expect(joinRegistry(ca.directory, { passphrase: PASSPHRASE, urlFile: server.urlFile })).rejects.toMatchObject(refused);
    expect(existsSync(ca.directory)).toBe(false);
    // Nor does any other writing here forget it.
    rememberRevision(new CaDirectory(ca.directory), { ...readUnprovedState(new CaDirectory(`${ca.directory}.old`)), revision: 5 });
    await expect(joinRegistry(ca.directory, { passphrase: PASSPHRASE, urlFile: server.urlFile })).rejects.toMatchObject(refused);
  });

  it("two histories are brought together by a backup of one and the revocation lists of both", async () => {
    const [first, second] = [await shared(), await joined()];
    for (const id of ["a", "b"]) await provisionDevice(first, id);
    await second.takeIn();
    await first.revoke({ id: "a", reason: "keyCompromise" });
    await server.query("DELETE FROM hawser_changes WHERE revision > 8");
    await second.revoke({ id: "b", reason: "keyCompromise" });
    await provisionDevice(second, "c");
    const nextStep = expect.stringContaining("hawser ca restore --crl") as string;
    await expect(first.list()).rejects.toMatchObject({ code: "REGISTRY_FORKED", nextStep });
    await second.moveRegistry("files");
    const file = join(scene.directory(), "ca.backup");
    await second.backUp(file);
    for (const { directory } of [first, second]) renameSync(directory, `${directory}.old`);
    const paths = [first, second].map(({ directory }) => join(`${directory}.old`, "crl.pem"));
    const lists = new Map(paths.map((path) => [path, readFileSync(path, "utf8")]));
    await restoreCa(openBackup(readFileSync(file), PASSPHRASE, file), second.directory, { passphrase: PASSPHRASE, lists });
    await server.query("DROP TABLE hawser_changes, hawser_snapshots");
    await (await openCa(second.directory, PASSPHRASE)).moveRegistry("postgres", { urlFile: server.urlFile });
    expect(await names(await joined())).toEqual(["a revoked", "b revoked", "c active"]);
  });

  it("what every machine has seen already, `ca verify` finds", async () => {
    const ca = await shared();
    await provisionDevice(ca, "a");
    const problems = async (statement: string): Promise<readonly string[]> => {
      await server.query("CREATE TABLE kept AS SELECT * FROM hawser_changes");
      await server.query(statement);
      const found = (await verifyCa(ca.directory, PASSPHRASE)).problems;
      await server.query("DELETE FROM hawser_changes");
      await server.query("INSERT INTO hawser_changes SELECT * FROM kept");
      await server.query("DROP TABLE kept");
      return found;
    };
    expect(await problems("SELECT 1")).toEqual([]);
    expect(await problems("UPDATE hawser_changes SET body = replace(body, 'issued', 'Issued') WHERE revision = 4")).toEqual([
      "of change 4 in the database, it was not written by this CA",
    ]);
    expect(await problems("DELETE FROM hawser_changes WHERE revision IN (3, 4)")).toEqual(["the database lacks the changes from 3 to 4"]);
    expect(await problems("UPDATE hawser_changes SET state = 'x' WHERE revision = 3")).toEqual([
      "change 3 in the database is not the one that it is said to be",
    ]);
    expect(await problems("DELETE FROM hawser_changes WHERE revision < 4")).toEqual([
      "the database lacks the changes from 3 to 3, which follow its snapshot",
    ]);
    await server.query("DELETE FROM hawser_snapshots");
    expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual(["the database has no snapshot, so that no machine can join"]);
  });

  it("a name in a snapshot that is not proved commands no terminal", async () => {
    await shared();
    const [row] = await server.query("SELECT encode(body, 'hex') AS body FROM hawser_snapshots");
    const body = Buffer.from(String(row?.["body"]), "hex");
    const header: unknown = JSON.parse(body.subarray(0, body.indexOf("\n")).toString("utf8"));
    const other = JSON.stringify({ ...(header as object), name: "\u001b[2J" });
    await server.query("INSERT INTO hawser_snapshots VALUES ('ff', 1, convert_to($1, 'UTF8'))", [`${other}\n`]);
    await expect(joined()).rejects.toMatchObject(failure("REGISTRY_NOT_FOUND", /^[\x20-\x7e]*"\\u001b\[2J"[\x20-\x7e]*$/));
  });

  it("a snapshot that was altered is no way in", async () => {
    await shared();
    await server.query("UPDATE hawser_snapshots SET body = overlay(body placing '\\x00'::bytea from length(body) - 20)");
    await expect(joined()).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
  });
});

describe("a shared CA", () => {
  it("that leaves the database is this machine's alone: the others say so and change nothing", async () => {
    const [first, second] = [await shared(), await joined()];
    await provisionDevice(first, "a");
    expect(await first.moveRegistry("sqlite")).toMatchObject({ from: "postgres", to: "sqlite", names: 1 });
    await provisionDevice(first, "b");
    expect(existsSync(join(first.directory, "database.json"))).toBe(false);
    await expect(second.list()).rejects.toMatchObject({ code: "REGISTRY_MOVED" });
    await expect(provisionDevice(second, "c")).rejects.toMatchObject({ code: "REGISTRY_MOVED" });
    expect(await names(await openCa(first.directory, PASSPHRASE))).toEqual(["a active", "b active"]);
  });

  it.each(["files", "sqlite"] as const)("that was stopped while it left the database to %s is whole with its next command", async (to) => {
    const [first, second] = [await shared(), await joined()];
    const out = join(scene.directory(), "broker");
    const [mtlsPort, pskPort] = await freePorts();
    await first.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, plugin: false });
    await provisionDevice(first, "a");
    // As a kill leaves it that comes when the change counts: what was made before is there, and nothing of the change is written.
    const before = join(scene.directory(), "before");
    cpSync(first.directory, before, { recursive: true });
    vi.stubEnv("HAWSER_STATE_DIR", scene.directory());
    await (await openCa(first.directory, PASSPHRASE)).moveRegistry(to);
    vi.unstubAllEnvs();
    cpSync(before, first.directory, { recursive: true });

    const { machine } = JSON.parse(readFileSync(join(first.directory, "database.json"), "utf8")) as { machine: string };
    const elsewhere = failure("REGISTRY_MOVED", new RegExp(`the machine ${machine.slice(0, 8)}, which moved it`));
    await expect(second.list()).rejects.toMatchObject(elsewhere);
    const copy = join(scene.directory(), "copy");
    cpSync(first.directory, copy, { recursive: true });
    await expect(proveCa(copy, PASSPHRASE)).rejects.toMatchObject(elsewhere);
    await provisionDevice(first, "b");
    await expect(second.list()).rejects.toMatchObject(elsewhere);
    const again = await openCa(first.directory, PASSPHRASE);
    expect(await names(again)).toEqual(["a active", "b active"]);
    expect(openCaReadOnly(first.directory).outputs.map(({ directory }) => directory)).toEqual([out]);
    expect(await again.moveRegistry(to)).toMatchObject({ from: to, to, names: 2 });
    expect(existsSync(join(first.directory, "registry.sqlite"))).toBe(to === "sqlite");
    expect((await verifyCa(first.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("keeps the kind of registry that it had on every machine", async () => {
    const first = await scene.ca({ registry: "sqlite" });
    await provisionDevice(first, "a");
    await first.moveRegistry("postgres", { urlFile: server.urlFile });
    const second = await joined();
    await provisionDevice(second, "b");
    expect(await names(first)).toEqual(["a active", "b active"]);
    expect(existsSync(join(second.directory, "registry.sqlite"))).toBe(true);
    expect((await verifyCa(second.directory, PASSPHRASE)).problems).toEqual([]);
  });

  it("is refused in a copy of its directory, which forgets nobody's broker", async () => {
    const ca = await shared();
    const out = join(scene.directory(), "broker");
    const [mtlsPort, pskPort] = await freePorts();
    await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, plugin: false });
    const copy = join(scene.directory(), "copy");
    cpSync(ca.directory, copy, { recursive: true });
    const warned: string[] = [];
    const opened = await openCa(copy, PASSPHRASE, { onAway: ({ code }) => warned.push(code) });
    await expect(provisionDevice(opened, "a")).rejects.toMatchObject({ code: "CA_COPIED" });
    expect(warned).toEqual(["CA_COPIED"]);
    await provisionDevice(ca, "a");
    expect(openCaReadOnly(ca.directory).outputs).toHaveLength(1);
  });

  it("is restored from a backup as a CA of its own, which writes to no database", async () => {
    const ca = await shared();
    await provisionDevice(ca, "a");
    const file = join(scene.directory(), "ca.backup");
    await ca.backUp(file);
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    const backup = openBackup(readFileSync(file), PASSPHRASE, file);
    const place = join(scene.directory(), "restored");
    await expect(restoreCa(backup, place, { passphrase: PASSPHRASE, lists: new Map(), withoutLists: true })).rejects.toMatchObject({
      code: "CA_EXISTS",
    });
    renameSync(ca.directory, `${ca.directory}.lost`);
    const lists = new Map([["crl.pem", readFileSync(join(`${ca.directory}.lost`, "crl.pem"), "utf8")]]);
    expect(await restoreCa(backup, place, { passphrase: PASSPHRASE, lists })).toMatchObject({ shutOut: ["a"] });
    const restored = await openCa(place, PASSPHRASE);
    await provisionDevice(restored, "b");
    expect(existsSync(join(place, "database.json"))).toBe(false);
    expect(await server.query("SELECT max(revision) AS last FROM hawser_changes")).toEqual([{ last: "6" }]);
    expect(await restored.moveRegistry("postgres", { urlFile: server.urlFile })).toMatchObject({ from: "files", names: 2 });
  });
});

interface List {
  readonly number: number;
  readonly serials: readonly string[];
}

/** The issuing CA's revocation list in a file, as its key signed it. */
async function listIn(file: string, ca: CertificateAuthority): Promise<List> {
  const issuing = fromPem("CERTIFICATE", readFileSync(join(ca.directory, "issuing.crt.pem"), "utf8"));
  const lists = await Promise.all(fromPem("X509 CRL", readFileSync(file, "utf8")).map((der) => openCrl(der, issuing)));
  const list = lists.find((one) => one !== undefined);
  return { number: list?.number ?? 0, serials: (list?.revoked ?? []).map(({ serial }) => serial) };
}
