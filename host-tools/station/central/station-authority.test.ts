/** Stations whose CA is elsewhere: real mutual TLS, simulated boards behind pseudo-terminals, and what a hostile station could try. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { BOARD_FAULTS } from "../../../sim/boards/board-faults.js";
import { Jig, wrongVerdicts } from "../../../sim/boards/jig.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { checkRequest } from "../../pki/certificate-request.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { provisionDevice, Scene, testKey } from "../../../test/support/host-tools/scene.js";
import { directoryWithCa, ENV, json } from "../../../test/support/host-tools/test-fleet.js";
import type { BoardRequest } from "../factory/board-issuer.js";
import { challengeOnly } from "../factory/connection-proof.js";
import { FactoryStation } from "../factory/factory-station.js";
import { idsByPattern } from "../factory/id-source.js";
import { Ledger } from "../factory/ledger.js";
import type { IssuedIdentity } from "../issue-once.js";
import { AuthorityBook } from "./authority-book.js";
import { remoteIssuer } from "./remote-issuer.js";
import type { RemoteIssuer, StationCredentials } from "./remote-issuer.js";
import { startStationAuthority } from "./station-authority.js";
import type { RunningStationAuthority, StationAuthorityEvent } from "./station-authority.js";

beforeAll(buildCli);

const scene = new Scene();
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await scene.clean();
});

async function credentials(ca: CertificateAuthority, name: string): Promise<StationCredentials> {
  const { keyPem, chainPem, trustAnchorPem } = await ca.issueClient({ name, role: "monitor" });
  return { keyPem, certificatePem: chainPem, trustAnchorPem };
}

class Plant {
  readonly events: StationAuthorityEvent[] = [];
  readonly directory = scene.directory();
  #running: { authority: RunningStationAuthority; book: AuthorityBook } | undefined;

  constructor(readonly ca: CertificateAuthority) {
    closing.push(() => this.stop());
  }

  async start(batches: Record<string, number>, port = 0): Promise<number> {
    const book = AuthorityBook.open(join(this.directory, "book"), new Map(Object.entries(batches)));
    const onEvent = (event: StationAuthorityEvent): void => void this.events.push(event);
    const authority = await startStationAuthority({ ca: this.ca, book, host: "127.0.0.1", port, roles: ["sensor"], onEvent });
    this.#running = { authority, book };
    return authority.port;
  }

  async stop(): Promise<void> {
    await this.#running?.authority.close();
    this.#running?.book.close();
    this.#running = undefined;
  }

  async issuer(name: string, port: number): Promise<RemoteIssuer> {
    const issuer = remoteIssuer(`https://localhost:${port}`, await credentials(this.ca, name));
    closing.push(() => issuer.close());
    return issuer;
  }
}

async function ask(issuer: RemoteIssuer, request: Partial<BoardRequest> & { id: string }, csr?: Uint8Array): Promise<IssuedIdentity> {
  const made = csr ?? (await testKey(request.id)).csr;
  const { publicKeyHash } = await checkRequest(made, request.id);
  return issuer.issue({ role: "sensor", attributes: {}, replace: false, ...request }, made, publicKeyHash);
}

const code = (name: string): object => expect.objectContaining({ code: name }) as object;

describe("a central authority", { timeout: 120_000 }, () => {
  it("serves two stations with one id pattern and every fault: no id twice, no board lost, the authority gone for a while", async () => {
    const plant = new Plant(await scene.ca());
    const port = await plant.start({ "line-1": 100, "line-2": 100 });
    const lines = [];
    for (const [name, seed] of [
      ["line-1", 5],
      ["line-2", 6],
    ] as const) {
      const ledger = Ledger.open(join(scene.directory(), name));
      closing.push(() => ledger.close());
      const jig = new Jig({
        directory: join(scene.directory(), "jig"),
        heads: 2,
        boards: 5,
        faults: [...BOARD_FAULTS],
        seed,
        firmware: "f1",
      });
      closing.push(() => jig.close());
      await jig.open();
      const station = new FactoryStation({
        heads: jig.places,
        baud: 115_200,
        ledger,
        issuer: await plant.issuer(name, port),
        ids: idsByPattern("m-{n}"),
        proof: challengeOnly,
        order: { operator: "alice", order: "4711", product: "Meter", role: "sensor", attributes: {}, firmware: "f1" },
        needsFirstArticle: false,
        needsLabelScan: false,
        allowNoMac: false,
        connectWaitMs: 5_000,
      });
      closing.push(() => station.close());
      station.onEvent((event) => {
        if (event.type !== "head") return;
        const { state, failure } = event.head;
        if (state === "passed") jig.judge(event.head.name, "passed");
        if (state === "failed" && failure !== undefined) jig.judge(event.head.name, failure.class);
      });
      lines.push({ name, ledger, jig, station });
    }
    for (const { station } of lines) station.open();
    for (const { station } of lines) station.startShift();
    await expect.poll(() => plant.events.filter(({ event }) => event === "issued").length, { timeout: 30_000 }).toBeGreaterThan(1);
    await plant.stop();
    await plant.start({ "line-1": 100, "line-2": 100 }, port);
    await Promise.all(lines.map(({ jig }) => jig.emptied));

    for (const { jig } of lines) expect(wrongVerdicts(jig.results)).toEqual([]);
    const passed = lines.flatMap(({ ledger }) => [...ledger.boards()].filter(({ passedAt }) => passedAt !== undefined));
    const good = lines.flatMap(({ jig }) => jig.results.filter(({ verdict }) => verdict === "passed"));
    expect(passed).toHaveLength(good.length);
    for (const fact of ["id", "mac", "serial", "publicKeyHash"] as const)
      expect(new Set(passed.map((board) => board[fact])).size).toBe(passed.length);
    const registry = (await plant.ca.list()).filter(({ kind, state }) => kind === "device" && state === "active");
    expect(registry.map(({ name, serial }) => [name, serial]).sort()).toEqual(passed.map(({ id, serial }) => [id, serial]).sort());
    expect(lines[0]?.station.view().totals.caDaysLeft).toBeGreaterThan(300);
  });

  it("holds each station to its batch, its roles and its own boards, also after a restart", async () => {
    const plant = new Plant(await scene.ca());
    await provisionDevice(plant.ca, "older");
    const port = await plant.start({ "line-1": 2, "line-2": 9 });
    const [one, two] = [await plant.issuer("line-1", port), await plant.issuer("line-2", port)];
    const { csr } = await testKey("m-1");
    const first = await ask(one, { id: "m-1", mac: "02000000000a" }, csr);
    const again = await ask(one, { id: "m-1", mac: "02000000000a" }, csr);
    expect([again.serial, again.psk?.equals(first.psk ?? Buffer.of())]).toEqual([first.serial, true]);
    expect([await one.isRegistered("m-1", first.serial), await two.isRegistered("m-1", first.serial)]).toEqual([true, false]);

    // Requests are no secret: who replays another station's gets neither its certificate nor its pre-shared key.
    await expect(ask(two, { id: "m-1" }, csr)).rejects.toEqual(code("ID_EXISTS"));
    await expect(ask(two, { id: "m-1", replace: true })).rejects.toEqual(code("ID_EXISTS"));
    await expect(ask(two, { id: "older", replace: true })).rejects.toEqual(code("ID_EXISTS"));
    await expect(ask(two, { id: "m-5", mac: "02000000000a" })).rejects.toMatchObject({
      code: "DUPLICATE_MAC",
      nextStep: expect.stringContaining("line-1") as string,
    });
    await expect(ask(two, { id: "m-5", role: "meter" })).rejects.toEqual(code("INVALID_ROLE"));
    await expect(ask(two, { id: "m-5" }, csr)).rejects.toEqual(code("WRONG_SUBJECT"));

    await plant.stop();
    await expect(one.isRegistered("m-1", first.serial)).rejects.toEqual(code("AUTHORITY_UNREACHABLE"));
    await plant.start({ "line-1": 2, "line-2": 9 }, port);
    await ask(one, { id: "m-2" });
    await expect(ask(one, { id: "m-3" })).rejects.toEqual(code("QUOTA_SPENT"));
    const replaced = await ask(one, { id: "m-2", mac: "02000000000b", replace: true });
    expect(replaced.replaced).toHaveLength(1);
    await ask(two, { id: "m-3" });
    expect((await plant.ca.list()).filter(({ kind }) => kind === "device").map(({ name, state }) => `${name} ${state}`)).toEqual([
      "m-1 active",
      "m-2 active",
      "m-3 active",
      "older active",
    ]);
  });

  it("lets in no station that is revoked, has no batch, or shows a device's certificate", async () => {
    const plant = new Plant(await scene.ca());
    const port = await plant.start({ "line-1": 2, older: 2 });
    const one = await plant.issuer("line-1", port);
    await ask(one, { id: "m-1" });
    await plant.ca.revoke({ id: "line-1" });
    await expect(ask(one, { id: "m-2" })).rejects.toEqual(code("PERMISSION_DENIED"));
    await expect(ask(await plant.issuer("line-9", port), { id: "m-2" })).rejects.toEqual(code("PERMISSION_DENIED"));
    const { keyPem, chainPem, trustAnchorPem } = await provisionDevice(plant.ca, "older");
    const device = remoteIssuer(`https://localhost:${port}`, { keyPem, certificatePem: chainPem, trustAnchorPem });
    closing.push(() => device.close());
    await expect(ask(device, { id: "m-2" })).rejects.toEqual(code("PERMISSION_DENIED"));
    // Neither does a station talk to anybody but its own authority.
    const stranger = remoteIssuer(`https://localhost:${port}`, await credentials(await scene.ca(), "line-1"));
    closing.push(() => stranger.close());
    await expect(ask(stranger, { id: "m-2" })).rejects.toEqual(code("AUTHORITY_UNREACHABLE"));
    expect((await plant.ca.list()).map(({ name }) => name)).not.toContain("m-2");
  });
});

it("makes boards at a station without a CA, as docs/factory.md says", { timeout: 120_000 }, async () => {
  const cwd = await directoryWithCa();
  await json(cwd, "issue", "--dir", "ca", "--name", "line-1", "--role", "monitor", "--out", "line-1");
  const authority = new RunningCli(["station", "authority", "--dir", "ca", "--batch", "line-1=3"], { cwd, env: ENV });
  const { port } = await authority.waitFor("ready");
  const station = [
    "station",
    "run",
    "--authority",
    `https://localhost:${String(port)}`,
    "--authority-credentials",
    "line-1",
    "--operator",
    "alice",
    "--ids",
    "m-{n}",
  ];
  const boards = ["--simulated", "2", "--boards", "3"];
  // No passphrase is at hand: nothing of the CA is opened here.
  expect(await hawser([...station, "--proof", "challenge", ...boards], { cwd })).toMatchObject({ code: 0, stderr: "" });
  expect((await json<{ id: string; state: string }[]>(cwd, "list", "--dir", "ca")).map(({ id, state }) => `${id} ${state}`)).toEqual([
    "line-1 active",
    "m-1 active",
    "m-2 active",
    "m-3 active",
  ]);
  authority.signal("SIGTERM");
  expect(await authority.ended).toMatchObject({ code: 0, stderr: "" });
  expect(await hawser([...station, ...boards], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--proof challenge") as string,
  });
  chmodSync(join(cwd, "line-1/client.key.pem"), 0o644);
  expect(await hawser([...station, "--proof", "challenge", ...boards], { cwd })).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("PASSPHRASE_FILE_EXPOSED") as string,
  });
});
