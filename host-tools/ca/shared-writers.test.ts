/** Several machines that write to one registry at once, and machines, servers and connections that die while they do. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { RunningProgram } from "../../test/support/node/child-program.js";
import { buildWorker } from "../../test/support/host-tools/build-worker.js";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { openCrl } from "../pki/signed-crl.js";
import { fromPem } from "../pki/pem.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";
import { joinRegistry } from "./shared-registry.js";
import { verifyCa } from "./verification.js";

// Each change is a dozen waits for the disk, and another for the server's.
vi.setConfig({ testTimeout: 300_000 });

const scene = new Scene();
const running: RunningProgram[] = [];
let server: PostgresServer;
let room: string;

beforeAll(async () => {
  const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
  mkdirSync(cache, { recursive: true });
  room = mkdtempSync(join(cache, "shared-worker-"));
  server = await PostgresServer.start();
}, 60_000);
afterEach(async () => {
  for (const program of running.splice(0)) await program.kill();
  await scene.clean();
  if (!server.isRunning) await server.resume();
  await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots");
});
afterAll(async () => {
  await server.stop();
  rmSync(room, { recursive: true, force: true });
});

async function machines(count: number): Promise<string[]> {
  const first = await scene.ca();
  await first.moveRegistry("postgres", { urlFile: server.urlFile });
  const directories = [first.directory];
  while (directories.length < count) {
    const directory = join(scene.directory(), "ca");
    await joinRegistry(directory, { passphrase: PASSPHRASE, urlFile: server.urlFile });
    directories.push(directory);
  }
  return directories;
}

function start(worker: string, ...args: string[]): RunningProgram {
  const program = new RunningProgram(worker, args);
  running.push(program);
  return program;
}

/** Numbers of the issuing CA's revocation lists, as each change in the database signed them. */
async function loggedLists(directory: string): Promise<number[]> {
  const issuing = fromPem("CERTIFICATE", readFileSync(join(directory, FILES.issuing), "utf8"));
  const rows = await server.query("SELECT body FROM hawser_changes ORDER BY revision");
  const numbers: number[] = [];
  for (const { body } of rows) {
    const written = (JSON.parse(String(body)) as { writes: Record<string, string> }).writes[FILES.crl];
    if (written === undefined) continue;
    const lists = fromPem("X509 CRL", Buffer.from(written, "base64").toString("utf8"));
    for (const list of await Promise.all(lists.map((der) => openCrl(der, issuing)))) if (list !== undefined) numbers.push(list.number);
  }
  return numbers;
}

/** Every machine has everything, and it agrees byte for byte. */
async function expectSame(directories: readonly string[]): Promise<CertificateAuthority> {
  const cas = await Promise.all(directories.map((directory) => openCa(directory, PASSPHRASE)));
  for (const ca of [...cas, ...cas]) await ca.takeIn();
  const [first = "", ...others] = directories;
  for (const directory of others)
    for (const file of [FILES.state, FILES.audit, FILES.crl])
      expect(readFileSync(join(directory, file)).equals(readFileSync(join(first, file))), `${directory} ${file}`).toBe(true);
  for (const directory of directories) expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
  expect(verifyAudit(first)).toMatchObject({ ok: true });
  return cas[0] as CertificateAuthority;
}

describe("several writers on PostgreSQL", () => {
  it("two stations and three authorities at once lose and double nothing", async () => {
    const directories = await machines(3);
    const [first = "", second = "", third = ""] = directories;
    const devices = ["dev0", "dev1", "dev2"];
    const opened = await openCa(first, PASSPHRASE);
    for (const id of devices) await provisionDevice(opened, id);
    const boards = Array.from({ length: 5 }, (_, n) => `board${n}`);
    const [station, authority] = [buildWorker(room), buildWorker(room, "authority-worker")];
    const stations = [start(station, first, PASSPHRASE, ...boards), start(station, second, PASSPHRASE, ...[...boards].reverse())];
    // One beside a station, two with a machine for themselves.
    const authorities = [second, third, third].map((directory) => start(authority, directory, PASSPHRASE, "2", ...devices));
    const programs = [...stations, ...authorities];
    await Promise.all(programs.map((program) => program.printed(1)));
    for (const program of programs) program.release();
    await Promise.all(programs.map((program) => program.ended));

    const lines = stations.flatMap((program) => program.lines);
    for (const id of boards) {
      expect(
        lines.filter((line) => line === `won ${id}`),
        id,
      ).toHaveLength(1);
      expect(
        lines.filter((line) => line === `lost ${id} ID_EXISTS`),
        id,
      ).toHaveLength(1);
    }
    const issued = authorities.flatMap((program) => program.lines).filter((line) => line !== "ready");
    expect(issued.filter((line) => line.startsWith("failed "))).toEqual([]);
    const serials = issued.filter((line) => line.startsWith("issued ")).map((line) => line.split(" ")[2] ?? "");
    expect(new Set(serials).size).toBe(3 * 2 * devices.length);

    const ca = await expectSame(directories);
    const listed = await ca.list();
    expect(listed.map(({ name, state }) => `${name} ${state}`)).toEqual([...boards, ...devices].map((id) => `${id} active`));
    for (const { name, certificates } of listed) if (name.startsWith("board")) expect(certificates, name).toHaveLength(1);
    // Each certificate that was handed out is known: as good, or as revoked.
    const known = new Set(listed.flatMap(({ certificates }) => certificates.map(({ serial }) => serial)));
    expect(serials.filter((serial) => !known.has(serial))).toEqual([]);
    const lists = await loggedLists(first);
    expect(lists.length).toBeGreaterThan(devices.length);
    expect(lists.every((number, index) => index === 0 || number > (lists[index - 1] ?? 0))).toBe(true);
  });

  it("are killed anywhere, and the others and the next go on", async () => {
    const directories = await machines(2);
    const [first = "", second = ""] = directories;
    const worker = buildWorker(room);
    const won: string[] = [];
    for (let kill = 0; kill < 4; kill += 1) {
      const ids = (name: string): string[] => Array.from({ length: 12 }, (_, n) => `${name}${kill}-${n}`);
      const [doomed, other] = [start(worker, first, PASSPHRASE, ...ids("a")), start(worker, second, PASSPHRASE, ...ids("b").slice(0, 3))];
      await Promise.all([doomed.printed(1), other.printed(1)]);
      doomed.release();
      other.release();
      await doomed.printed(2 + kill);
      await doomed.kill();
      await other.ended;
      expect(other.lines.filter((line) => line.startsWith("won "))).toHaveLength(3);
      won.push(...[...doomed.lines, ...other.lines].filter((line) => line.startsWith("won ")).map((line) => line.slice(4)));
    }
    const ca = await expectSame(directories);
    const states = new Map((await ca.list()).map(({ name, state }) => [name, state]));
    expect(won.filter((id) => states.get(id) !== "active")).toEqual([]);
    // What the killed ones were at is done, or can be done by the next there.
    for (const [id, state] of states) if (state === "reserved") await provisionDevice(ca, id);
    await expectSame(directories);
  });

  it("lose their server in the middle of it, and lose and double nothing", async () => {
    const directories = await machines(2);
    const worker = buildWorker(room);
    const ids = Array.from({ length: 8 }, (_, n) => `dev${n}`);
    const programs = directories.map((directory, n) => start(worker, directory, PASSPHRASE, ...ids.map((id) => `${id}-${n}`)));
    await Promise.all(programs.map((program) => program.printed(1)));
    for (const program of programs) program.release();
    await programs[0]?.printed(3);
    await server.kill();
    await server.resume();
    await Promise.all(programs.map((program) => program.ended));
    const ca = await expectSame(directories);
    const states = new Map((await ca.list()).map(({ name, state }) => [name, state]));
    const lines = programs.flatMap((program) => program.lines);
    for (const line of lines.filter((one) => one.startsWith("won "))) expect(states.get(line.slice(4)), line).toBe("active");
    for (const line of lines.filter((one) => one.startsWith("lost "))) expect(line).toMatch(/ REGISTRY_(?:AWAY|UNSURE)$/);
  });
});

describe("a change whose machine or connection dies when it counts", () => {
  it("is finished by the next command of that machine, though its directory knew nothing of it", async () => {
    const [first = "", second = ""] = await machines(2);
    const ca = await openCa(first, PASSPHRASE);
    await provisionDevice(ca, "a");
    const before = join(scene.directory(), "before");
    cpSync(first, before, { recursive: true });
    await ca.revoke({ id: "a", reason: "keyCompromise" });
    // As a power cut leaves it that came after the database's answer, and before anything was written.
    for (const name of readdirSync(first)) rmSync(join(first, name), { recursive: true });
    cpSync(before, first, { recursive: true });
    rmSync(witnessFile(first), { force: true });
    expect(openCaReadOnly(first).get("a").state).toBe("active");
    const again = await openCa(first, PASSPHRASE);
    expect(openCaReadOnly(first).get("a").state).toBe("revoked");
    await provisionDevice(again, "b");
    await expectSame([first, second]);
  });

  it("counts once when the server's answer is lost on the way", async () => {
    const [first = "", second = ""] = await machines(2);
    const proxy = new LossyProxy(join(server.folder, ".s.PGSQL.5432"), join(scene.directory(), ".s.PGSQL.5432"));
    await proxy.listen();
    try {
      vi.stubEnv("HAWSER_REGISTRY_URL", server.url.replace(server.folder, join(proxy.path, "..")));
      const ca = await openCa(first, PASSPHRASE);
      await provisionDevice(ca, "a");
      proxy.losesNextCommit = true;
      const { serial } = await ca.issueFromCsr("a", (await testKey("a")).csr);
      expect(proxy.lost).toBe(1);
      expect(
        openCaReadOnly(first)
          .get("a")
          .certificates.filter((one) => one.serial === serial),
      ).toHaveLength(1);
    } finally {
      vi.unstubAllEnvs();
      await proxy.close();
    }
    await expectSame([first, second]);
  });
});

/** Between a client and the server: passes a COMMIT on and hangs up instead of passing the answer back. */
class LossyProxy {
  losesNextCommit = false;
  lost = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(
    private readonly target: string,
    readonly path: string,
  ) {
    this.#server = createServer((client) => this.#pass(client));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #pass(client: Socket): void {
    const upstream = connect(this.target);
    let isLosing = false;
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
    client.on("data", (bytes: Buffer) => {
      if (this.losesNextCommit && /COMMIT\0/.test(bytes.toString("latin1"))) {
        this.losesNextCommit = false;
        isLosing = true;
      }
      upstream.write(bytes);
    });
    upstream.on("data", (bytes: Buffer) => {
      if (!isLosing) return void client.write(bytes);
      this.lost += 1;
      client.destroy();
    });
  }
}
