/** Several `hawser authority` on one CA: at one broker, each on a machine of its own, with real PostgreSQL and mosquitto. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { Device } from "../../../sdk/device/device.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { FleetStores } from "../../../sim/fleet/fleet-client.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { PostgresServer } from "../../../test/support/host-tools/postgres-server.js";
import { provisionDevice, Scene } from "../../../test/support/host-tools/scene.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json, PASSPHRASE, runningBroker, url } from "../../../test/support/host-tools/test-fleet.js";
import type { Ports } from "../../../test/support/host-tools/test-fleet.js";
import { openCa } from "../../ca/certificate-authority.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { joinRegistry } from "../../ca/shared-registry.js";
import { verifyCa } from "../../ca/verification.js";
import { openCrl } from "../../pki/signed-crl.js";
import { fromPem } from "../../pki/pem.js";
import { block } from "../../../test/end-to-end/readme-blocks.js";
import { provisionFleet } from "../fleet/fleet-identities.js";

// Each change is a dozen waits for the disk, and everything is done by several processes.
vi.setConfig({ testTimeout: 600_000 });

const scene = new Scene();
let server: PostgresServer;

beforeAll(async () => {
  buildCli();
  server = await PostgresServer.start();
}, 120_000);
afterAll(async () => {
  await server.stop();
  await scene.clean();
});

interface Plant extends Ports {
  readonly cwd: string;
  /** Of the machine whose broker it is. */
  readonly ca: CertificateAuthority;
  readonly broker: RunningCli;
  /** Directories of the CA, a machine each. */
  readonly machines: readonly string[];
  authority(machine: string): RunningCli;
}

async function plant(machineCount: number): Promise<Plant> {
  const cwd = await directoryWithCa({ name: `Shared by ${machineCount}` });
  const ca = await openCa(join(cwd, "ca"), PASSPHRASE, { onOutput: () => undefined });
  await ca.moveRegistry("postgres", { urlFile: server.urlFile });
  onTestFinished(async () => void (await server.query("DROP TABLE IF EXISTS hawser_changes, hawser_snapshots")));
  const machines = ["ca"];
  while (machines.length < machineCount) {
    const machine = `ca-${machines.length + 1}`;
    await joinRegistry(join(cwd, machine), { passphrase: PASSPHRASE, urlFile: server.urlFile });
    machines.push(machine);
  }
  const site = await runningBroker(cwd, "mosquitto");
  const commands = block("registry-authorities", "docs/registry.md").trim().split("\n");
  const authority = (machine: string): RunningCli => {
    const command = commands[machine === "ca" ? 0 : 1] ?? "";
    const args = command
      .replace(/(plant-11|station-2) /, `${machine} `)
      .replace("8883", String(site.mtlsPort))
      .split(" ");
    return new RunningCli(args.slice(1), { cwd, env: ENV });
  };
  return { cwd, ca, machines, authority, ...site };
}

/** A device, and all that it said. */
class Board {
  readonly said: DeviceEvent[] = [];
  readonly device: Device;
  #look: () => void = () => undefined;

  constructor(stores: FleetStores, { mtlsPort, pskPort }: Ports, protocolVersion: 4 | 5) {
    const at = (port: number): { host: string; port: number } => ({ host: "localhost", port });
    const { keyStore, storage } = stores;
    this.device = new Device(
      { broker: at(mtlsPort), recovery: at(pskPort), protocolVersion, backoff: { capMs: 1_000 } },
      nodePlatform({ keyStore, storage }),
    );
    this.device.listen((event) => {
      this.said.push(event);
      this.#look();
    });
    onTestFinished(() => this.device.stop());
  }

  /** The first event that fits, past or to come. */
  when<T extends DeviceEvent["type"]>(type: T): Promise<Extract<DeviceEvent, { type: T }>> {
    return new Promise((resolve) => {
      this.#look = () => {
        const found = this.said.find((event): event is Extract<DeviceEvent, { type: T }> => event.type === type);
        if (found !== undefined) resolve(found);
      };
      this.#look();
    });
  }
}

async function boards({ ca, ...ports }: Plant, count: number): Promise<Map<string, Board>> {
  const ids = Array.from({ length: count }, (_, n) => `dev-${n}`);
  const fleet = new Map<string, Board>();
  for (const [n, identity] of (await provisionFleet(ca, ids, "sensor")).entries())
    fleet.set(identity.id, new Board(new FleetStores(identity), ports, n % 2 === 0 ? 4 : 5));
  for (const { device } of fleet.values()) device.start();
  await Promise.all([...fleet.values()].map((board) => board.when("connected")));
  return fleet;
}

async function revokedSerials({ directory }: CertificateAuthority): Promise<readonly string[]> {
  const issuing = fromPem("CERTIFICATE", readFileSync(join(directory, "issuing.crt.pem"), "utf8"));
  const lists = await Promise.all(
    fromPem("X509 CRL", readFileSync(join(directory, "crl.pem"), "utf8")).map((der) => openCrl(der, issuing)),
  );
  return lists.flatMap((list) => (list?.revoked ?? []).map(({ serial }) => serial));
}

test("three share the requests of 40 devices, one is killed in the middle, and each device has one active certificate", async () => {
  const site = await plant(3);
  const authorities = site.machines.map((machine) => site.authority(machine));
  const [first, second, third] = authorities as [RunningCli, RunningCli, RunningCli];
  const connected = await Promise.all(authorities.map((authority) => authority.waitFor("connected")));
  expect(new Set(connected.map(({ name }) => name)).size).toBe(3);
  const fleet = await boards(site, 40);
  for (const { device } of fleet.values()) device.renew();
  await second.waitFor("issued");
  second.signal("SIGKILL");
  const renewed = new Map<string, string>();
  for (const [id, board] of fleet) renewed.set(id, (await board.when("renewed")).newSerial);

  const retired = async (): Promise<number> =>
    (await site.ca.list()).filter(({ name, certificates }) => renewed.has(name) && certificates[0]?.status === "superseded").length;
  await expect.poll(retired, { timeout: 120_000, interval: 500 }).toBe(fleet.size);
  for (const { name, certificates } of (await site.ca.list()).filter(({ kind }) => kind === "device"))
    expect([name, ...certificates.map(({ status }) => status), certificates[1]?.serial]).toEqual([
      ...[name, "superseded", "active"],
      renewed.get(name),
    ]);

  // Who was killed comes back under its name, and has nothing to undo.
  const again = site.authority("ca-2");
  await again.waitFor("connected");
  for (const authority of [first, third, again]) {
    authority.signal("SIGTERM");
    expect(await authority.ended).toMatchObject({ code: 0, stderr: "" });
  }
  const opened = await Promise.all(site.machines.map((machine) => openCa(join(site.cwd, machine), PASSPHRASE)));
  for (const ca of [...opened, ...opened]) await ca.takeIn();
  const states = opened.map(({ directory }) => readFileSync(join(directory, "state.json"), "utf8"));
  expect(new Set(states).size).toBe(1);
  for (const { directory } of opened) expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
  const ended = (await site.ca.list()).flatMap(({ certificates }) => certificates.filter(({ status }) => status !== "active"));
  expect([...(await revokedSerials(site.ca))].sort()).toEqual(ended.map(({ serial }) => serial).sort());
});

test("devices that join the groups they know of take nobody's request, and only who can open the CA knows the right one", async () => {
  const site = await plant(2);
  const authorities = site.machines.map((machine) => site.authority(machine));
  await Promise.all(authorities.map((authority) => authority.waitFor("connected")));
  const other = await scene.ca();
  const groups = await Promise.all(
    site.machines.map(async (machine) => (await openCa(join(site.cwd, machine), PASSPHRASE)).sharedNames().group),
  );
  expect([new Set(groups).size, groups[0]]).toEqual([1, expect.stringMatching(/^hawser-[0-9a-f]{32}$/)]);
  expect(() => other.sharedNames()).toThrow(expect.objectContaining({ code: "REGISTRY_NOT_FOUND" }) as Error);

  const { keyPem: key, chainPem: cert, trustAnchorPem } = await provisionDevice(site.ca, "joins");
  const login = { host: "localhost", port: site.mtlsPort, protocol: "mqtts" as const, clientId: "joins", key, cert, ca: trustAnchorPem };
  const joining = scene.client(await mqtt.connectAsync(login));
  const guesses = ["hawser", "hawser-authority", "authority", "hawser-authority-requests"];
  await joining.subscribeAsync(
    guesses.map((name) => `$share/${name}/devices/+/identity/request`),
    { qos: 1 },
  );
  for (const board of (await boards(site, 3)).values()) {
    board.device.renew();
    await board.when("renewed");
    expect(board.said.some(({ type }) => type === "renewal-failed")).toBe(false);
  }
});

test("one leaves all requests to the others while its database is away, and ends when the passphrase was changed elsewhere", async () => {
  const site = await plant(2);
  const authority = site.authority("ca-2");
  const first = await authority.waitFor("connected");
  const [board] = (await boards(site, 1)).values();
  await server.kill();
  board?.device.renew();
  expect(await board?.when("renewal-failed")).toMatchObject({ code: "TRY_LATER" });
  expect(await authority.waitFor("resting")).toMatchObject({ code: "REGISTRY_AWAY" });
  await server.resume();
  await authority.waitFor("connected", (event) => event !== first);
  await board?.when("renewed");

  await site.ca.changePassphrase("four words that nobody knows");
  board?.device.renew();
  expect(await authority.ended).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('{"error":{"code":"PASSPHRASE_CHANGED"') as string,
  });
});

test("on one CA directory a second one is refused at once, and without a shared registry so is one of several", async () => {
  const cwd = await directoryWithCa();
  const { mtlsPort } = await runningBroker(cwd, "mosquitto");
  const start = ["authority", "--dir", "ca", "--url", url(mtlsPort)];
  const one = new RunningCli(start, { cwd, env: ENV });
  await one.waitFor("connected");
  const before = readFileSync(join(cwd, "ca", "revision"), "utf8");
  const second = await hawser(start, { cwd, env: ENV });
  expect([second.code, second.stderr]).toEqual([5, expect.stringMatching(new RegExp(`^error AUTHORITY_RUNNING: .*process ${one.pid}`))]);
  expect(readFileSync(join(cwd, "ca", "revision"), "utf8")).toBe(before);
  // The lock of one that was killed is nobody's.
  one.signal("SIGKILL");
  await one.ended;
  const shared = await hawser([...start, "--shared"], { cwd, env: ENV });
  expect([shared.code, shared.stderr]).toEqual([6, expect.stringMatching(/^error REGISTRY_NOT_FOUND: .*in no database/)]);
  const next = new RunningCli(start, { cwd, env: ENV });
  await next.waitFor("connected");
  expect(await json(cwd, "list", "--dir", "ca", "--state", "active", "--count")).toMatchObject({ count: 1 });
});
