/** The log of changes at a PostgreSQL that is set up otherwise, or used by others. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { parseDatabaseUrl } from "./database-address.js";
import { PostgresLog } from "./postgres-log.js";

const LOG = "0123456789abcdef0123456789abcdef";

let server: PostgresServer;

beforeAll(async () => {
  server = await PostgresServer.start();
}, 60_000);
afterEach(async () => {
  await server.query("BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT");
  await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots CASCADE");
});
afterAll(() => server.stop());

async function prepared(): Promise<PostgresLog> {
  const log = new PostgresLog(parseDatabaseUrl(server.url), LOG);
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
    [
      "removed when it is committed",
      trigger("CONSTRAINT TRIGGER t AFTER INSERT", "DELETE FROM hawser_changes WHERE revision = NEW.revision; RETURN NULL;").replace(
        "FOR EACH ROW",
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
      ),
    ],
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
});
