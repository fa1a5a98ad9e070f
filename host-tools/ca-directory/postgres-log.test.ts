/** The log of changes at a PostgreSQL that is set up otherwise, or used by others. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { parseDatabaseUrl } from "./database-address.js";
import type { DatabaseAddress } from "./database-address.js";
import { logNames, PostgresLog } from "./postgres-log.js";
import { PostgresSession } from "./postgres-session.js";

const LOG = "0123456789abcdef0123456789abcdef";
/** How long a change waits for another's: not as long as a person would. */
const LOCK_MS = 500;

let server: PostgresServer;

beforeAll(async () => {
  server = await PostgresServer.start();
  await server.query("CREATE ROLE guest LOGIN");
}, 60_000);
afterEach(async () => {
  await server.query("BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT");
  await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots CASCADE");
});
afterAll(() => server.stop());

function address(user = "hawser", database = "postgres"): DatabaseAddress {
  return parseDatabaseUrl(server.url.replace("hawser@", `${user}@`).replace("/postgres?", `/${database}?`));
}

async function prepared(): Promise<PostgresLog> {
  const log = new PostgresLog(address(), LOG, { lockMs: LOCK_MS });
  await log.prepare();
  return log;
}

const append = (log: PostgresLog, revision: number): Promise<void> =>
  log.turn((turn) => turn.append({ revision, state: `state ${revision}`, text: `text ${revision}` }));

const revisions = (log: PostgresLog): Promise<number[]> =>
  log.read(async ({ changesFrom }) => (await changesFrom(0)).map(({ revision }) => revision));

describe("the defaults of a database", () => {
  it("change nothing about turns: the second sees what the first one added, though it began to wait before", async () => {
    const log = await prepared();
    await server.query("ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'");
    const seen: number[][] = [];
    const turn = (): Promise<void> =>
      log.turn(async ({ changesFrom, append: add }) => {
        const changes = await changesFrom(0);
        seen.push(changes.map(({ revision }) => revision));
        await add({ revision: changes.length + 1, state: "state", text: "text" });
      });
    await Promise.all([turn(), turn(), turn()]);
    expect(seen).toEqual([[], [1], [1, 2]]);
  });

  it("do not make it one that takes no changes", async () => {
    const log = await prepared();
    await server.query("ALTER DATABASE postgres SET default_transaction_read_only = on");
    await append(log, 1);
    await log.addSnapshot({ revision: 1, bytes: Buffer.from("snapshot") });
    expect(await log.head()).toMatchObject({ lastRevision: 1, snapshotRevision: 1 });
  });
});

describe("a change", () => {
  /** What a trigger does with a row that is inserted. */
  const trigger = (when: string, body: string): string => `
    CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ${body} END';
    CREATE ${when} ON hawser_changes FOR EACH ROW EXECUTE FUNCTION meddle()`;

  it.each([
    ["swallowed", trigger("TRIGGER t BEFORE INSERT", "RETURN NULL;")],
    ["altered", trigger("TRIGGER t BEFORE INSERT", "NEW.body := NEW.body || ''x''; RETURN NEW;")],
    ["given to another log", trigger("TRIGGER t BEFORE INSERT", "NEW.log := ''other''; RETURN NEW;")],
    ["removed again", trigger("TRIGGER t AFTER INSERT", "DELETE FROM hawser_changes WHERE revision = NEW.revision; RETURN NULL;")],
  ])("that is %s by the database is not said to be done", async (_what, statements) => {
    const log = await prepared();
    await append(log, 1);
    await server.query(statements);
    await expect(append(log, 2)).rejects.toMatchObject({
      code: "REGISTRY_TAMPERED",
      message: expect.stringMatching(/holds change 2 altered, or not at all/) as string,
    });
    await server.query("DROP TRIGGER t ON hawser_changes");
    expect(await revisions(log)).toEqual([1]);
    await append(log, 2);
    expect(await revisions(log)).toEqual([1, 2]);
  });

  it("waits for nobody who may only connect, or only add", async () => {
    const log = await prepared();
    await server.query("GRANT SELECT, INSERT ON hawser_changes TO guest");
    const guest = new PostgresSession(address("guest"));
    try {
      await guest.ask("BEGIN");
      await guest.ask("SELECT pg_advisory_lock(hashtextextended($1, 0))", [`hawser ${LOG}`]);
      await guest.ask("LOCK TABLE hawser_changes IN ROW EXCLUSIVE MODE");
      await append(log, 1);
      await expect(guest.ask("LOCK TABLE hawser_changes IN SHARE UPDATE EXCLUSIVE MODE")).rejects.toMatchObject({
        code: "REGISTRY_REFUSED",
      });
    } finally {
      guest.close();
    }
    expect(await revisions(log)).toEqual([1]);
  });

  it("names who keeps it waiting, and keeps nobody from reading", async () => {
    const log = await prepared();
    await append(log, 1);
    await log.turn(async ({ changesFrom }) => {
      await expect(append(log, 2)).rejects.toMatchObject({
        code: "CA_BUSY",
        message: expect.stringMatching(
          /another machine is changing the registry in .*: process \d+ of the server, user "hawser", application "hawser"$/,
        ) as string,
      });
      expect(await revisions(log)).toEqual([1]);
      expect(await log.head()).toMatchObject({ lastRevision: 1 });
      await changesFrom(0);
    });
    await append(log, 2);
  });
});

describe("a server that refuses", () => {
  const refused = (message: RegExp, nextStep: RegExp): object => ({
    code: "REGISTRY_REFUSED",
    message: expect.stringMatching(message) as string,
    nextStep: expect.stringMatching(nextStep) as string,
  });

  it("is asked for no right but SELECT, INSERT and DELETE on the tables that there are", async () => {
    await prepared();
    await server.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    await server.query("GRANT SELECT, INSERT, DELETE ON hawser_changes, hawser_snapshots TO guest");
    const log = new PostgresLog(address("guest"), LOG, { lockMs: LOCK_MS });
    await log.prepare();
    await append(log, 1);
    await append(log, 2);
    await log.addSnapshot({ revision: 1, bytes: Buffer.from("snapshot") });
    await log.addSnapshot({ revision: 2, bytes: Buffer.from("snapshot") });
    expect(await revisions(log)).toEqual([2]);
    expect(await logNames(address("guest"))).toEqual([LOG]);
  });

  it("says which right is missing", async () => {
    await server.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    const log = new PostgresLog(address("guest"), LOG, { lockMs: LOCK_MS });
    await expect(log.prepare()).rejects.toMatchObject(refused(/guest@.* refuses: permission denied for schema public/, /GRANT/));
    await prepared();
    await expect(log.head()).rejects.toMatchObject(refused(/permission denied for table hawser_changes/, /GRANT/));
    await server.query("GRANT SELECT ON hawser_changes, hawser_snapshots TO guest");
    expect(await revisions(log)).toEqual([]);
    await expect(append(log, 1)).rejects.toMatchObject(refused(/permission denied for table hawser_changes/, /GRANT/));
  });

  it("because there is no such database, names it", async () => {
    const log = new PostgresLog(address("hawser", "nowhere"), LOG);
    await expect(log.head()).rejects.toMatchObject(refused(/"nowhere" does not exist/, /createdb/));
  });

  it("because the user or the password is wrong, says so without the password", async () => {
    const stranger = new PostgresLog(address("stranger"), LOG);
    await expect(stranger.head()).rejects.toMatchObject(refused(/"stranger" does not exist/, /URL/));
    await server.query("ALTER ROLE guest PASSWORD 'right'");
    // Another rule for this user, before the one that trusts everybody.
    await server.query(
      "COPY (SELECT 'local all guest scram-sha-256' UNION ALL SELECT 'local all all trust') TO PROGRAM 'cat > pg_hba.conf'",
    );
    await server.query("SELECT pg_reload_conf()");
    const url = server.url.replace("hawser@", "guest:wr0ng-secret@");
    const error: unknown = await new PostgresLog(parseDatabaseUrl(url), LOG).head().catch((reason: unknown) => reason);
    expect(error).toMatchObject(refused(/password authentication failed/, /URL/));
    expect(JSON.stringify(error) + String(error)).not.toContain("wr0ng-secret");
  });

  it("because it takes no changes, is read", async () => {
    const log = await prepared();
    await append(log, 1);
    const session = new PostgresSession(address());
    try {
      await session.ask("BEGIN READ ONLY");
      await expect(session.ask("DELETE FROM hawser_changes")).rejects.toMatchObject(refused(/read-only/, /primary/));
    } finally {
      session.close();
    }
    expect(await revisions(log)).toEqual([1]);
  });

  it("holds no CA where it has no tables", async () => {
    expect(await logNames(address())).toEqual([]);
  });
});

describe("a server that hangs", () => {
  it("is given up soon by what only reads, and then not asked again at once", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-hung-"));
    let connections = 0;
    const sockets: Socket[] = [];
    const hung = createServer((socket) => {
      connections += 1;
      sockets.push(socket.on("error", () => undefined));
    });
    await new Promise<void>((resolve) => hung.listen(join(folder, ".s.PGSQL.5432"), resolve));
    try {
      const log = new PostgresLog(parseDatabaseUrl(`postgres://hawser@/postgres?host=${folder}`), LOG, { loginMs: 200 });
      const silence = { code: "REGISTRY_AWAY", message: expect.stringMatching(/no login within 0\.2 s/) as string };
      await expect(revisions(log)).rejects.toMatchObject(silence);
      await expect(revisions(log)).rejects.toMatchObject(silence);
      expect(connections).toBe(1);
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => hung.close(resolve));
      rmSync(folder, { recursive: true });
    }
  });

  it("is no server that lets a question take its time", async () => {
    const session = new PostgresSession(address(), 1_000);
    try {
      expect(await session.ask("SELECT pg_sleep(1.5)")).toHaveLength(1);
    } finally {
      session.close();
    }
  });
});

describe("what others wrote", () => {
  it("is read in batches that memory holds, however large each change is", async () => {
    const log = await prepared();
    await server.query("INSERT INTO hawser_changes SELECT $1, i, 'state', repeat('x', 9000000) FROM generate_series(1, 5) AS i", [LOG]);
    const batches = await log.read(async ({ changesFrom }) => [await changesFrom(0), await changesFrom(2), await changesFrom(4)]);
    expect(batches.map((batch) => batch.map(({ revision, text }) => [revision, text?.length]))).toEqual([
      [
        [1, 9000000],
        [2, 9000000],
      ],
      [
        [2, undefined],
        [3, 9000000],
        [4, 9000000],
      ],
      [
        [4, undefined],
        [5, 9000000],
      ],
    ]);
  });

  it("is not fetched where no change is as large, nor is such a change added", async () => {
    const log = new PostgresLog(address(), LOG, { changeBytes: 10 });
    await log.prepare();
    await append(log, 1);
    await expect(log.turn((turn) => turn.append({ revision: 2, state: "state", text: "x".repeat(11) }))).rejects.toMatchObject({
      code: "REGISTRY_REFUSED",
      message: expect.stringMatching(/change 2 would have 11 bytes, and at most 10 are read/) as string,
    });
    await server.query("INSERT INTO hawser_changes VALUES ($1, 2, 'state', repeat('x', 11))", [LOG]);
    const tampered = { code: "REGISTRY_TAMPERED", message: expect.stringMatching(/change 2 has 11 bytes, .* more than 10$/) as string };
    await expect(revisions(log)).rejects.toMatchObject(tampered);
    // Who has it already reads on.
    expect(await log.read(async ({ changesFrom }) => (await changesFrom(2)).length)).toBe(1);
  });
});
