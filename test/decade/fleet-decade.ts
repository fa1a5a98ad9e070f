/**
 * Twelve years of one fleet, in one process whose wall clock is moved by libfaketime: the real CA, the embedded broker, the authority and
 * the SDK's devices over TLS. `decade.test.ts` runs it; it throws at the first thing that is not as it should be, and prints what it saw.
 *
 * All that happens between two stops is that time passes: devices are off meanwhile, and do what they do after a power cut.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import mqtt from "mqtt";
import { EmbeddedBroker } from "../../sim/brokers/embedded-broker.js";
import { FleetStores } from "../../sim/fleet/fleet-client.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { Device } from "../../sdk/device/device.js";
import type { DeviceEvent } from "../../sdk/events.js";
import { IdentityStore } from "../../sdk/identity/store.js";
import type { AuthorityService } from "../../host-tools/authority/service.js";
import { openBackup } from "../../host-tools/ca-directory/backup-file.js";
import { initCa, type InitOptions } from "../../host-tools/ca/ca-creation.js";
import { openCa, type CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { statusOf } from "../../host-tools/ca/expiry.js";
import { openCaReadOnly } from "../../host-tools/ca/ca-without-passphrase.js";
import { restoreCa } from "../../host-tools/ca/restore.js";
import { joinRegistry } from "../../host-tools/ca/shared-registry.js";
import { verifyCa } from "../../host-tools/ca/verification.js";
import { enrolmentService } from "../../host-tools/cli/enrolment-service.js";
import { provisionFleet } from "../../host-tools/cli/fleet/fleet-identities.js";
import { embeddedMaterial } from "../../host-tools/cli/foreground-broker/broker-material.js";
import { toPem } from "../../host-tools/pki/pem.js";

const [, , work = "", clockFile = "", urlFile = ""] = process.argv;
const DAY_MS = 86_400_000;
/** A little more than two thirds of a device's certificate: at each stop, each device renews. */
const STRIDE_DAYS = 250;
const STOPS = 18;
const ROOT_MS = 10 * 365.25 * DAY_MS;

function need(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`stop ${stop}: ${what}`);
}

let stop = 0;
let passphrase = "four words of the first year";
let place = join(work, "ca");

/** The wall clock of this process; timers run on. */
function moveClock(days: number): void {
  const before = Date.now();
  writeFileSync(`${clockFile}.next`, `+${days}d`);
  renameSync(`${clockFile}.next`, clockFile);
  need(days === 0 || Date.now() - before > (STRIDE_DAYS - 1) * DAY_MS, "the clock is not libfaketime's");
}

const serialOf = (der: Uint8Array): string => new X509Certificate(der).serialNumber.toLowerCase();

class Home {
  ca: CertificateAuthority;
  broker: EmbeddedBroker;
  authority: AuthorityService | undefined;
  ports = { mtlsPort: 0, pskPort: 0 };

  private constructor(ca: CertificateAuthority, broker: EmbeddedBroker) {
    this.ca = ca;
    this.broker = broker;
  }

  static async of(ca: CertificateAuthority, ports = { mtlsPort: 0, pskPort: 0 }): Promise<Home> {
    const broker = new EmbeddedBroker({ material: embeddedMaterial(await ca.brokerMaterial()), ...ports });
    const home = new Home(ca, broker);
    const { mtlsPort, pskPort } = await broker.start();
    home.ports = { mtlsPort, pskPort };
    return home;
  }

  async reload(): Promise<void> {
    this.broker.reload(embeddedMaterial(await this.ca.brokerMaterial()));
  }

  async startAuthority(): Promise<void> {
    let connected = (): void => undefined;
    const served = new Promise<void>((resolve) => (connected = resolve));
    const endpoint = { host: "localhost", port: this.ports.mtlsPort };
    this.authority = await enrolmentService(this.ca, endpoint, ({ event }) => event === "connected" && connected());
    await this.reload();
    this.authority.start();
    await served;
  }

  async end(): Promise<void> {
    await this.authority?.stop();
    await this.broker.stop();
  }
}

/** A board: its flash stays, and each boot is another device. */
class Board {
  device: Device | undefined;
  history: DeviceEvent[] = [];
  readonly everSaid: DeviceEvent[] = [];
  #look: () => void = () => undefined;

  constructor(
    readonly id: string,
    readonly stores: FleetStores,
  ) {}

  boot({ ports }: Home): void {
    const { keyStore, storage } = this.stores;
    const broker = { host: "localhost", port: ports.mtlsPort };
    this.history = [];
    this.device = new Device(
      {
        broker,
        recovery: { host: "localhost", port: ports.pskPort },
        backoff: { baseMs: 50, capMs: 500, stableAfterMs: 1000 },
        recoveryPatience: { refusals: 2, minimumMs: 100, maximumMs: 200 },
      },
      nodePlatform({ keyStore, storage }),
    );
    this.device.listen((event) => {
      this.history.push(event);
      this.everSaid.push(event);
      this.#look();
    });
    this.device.start();
  }

  /** The first event since the boot that fits. The test's own time-out ends a wait for what never comes. */
  seen(fits: (event: DeviceEvent) => boolean): Promise<DeviceEvent> {
    return new Promise((resolve) => {
      this.#look = () => {
        const found = this.history.find(fits);
        if (found !== undefined) resolve(found);
      };
      this.#look();
    });
  }

  said(type: DeviceEvent["type"]): boolean {
    return this.history.some((event) => event.type === type);
  }

  get anchors(): readonly string[] {
    return IdentityStore.load(this.stores.storage, this.stores.keyStore).anchorSerials;
  }

  async off(): Promise<void> {
    await this.device?.stop();
    this.device = undefined;
  }
}

async function boards(ca: CertificateAuthority, ids: readonly string[]): Promise<Board[]> {
  return (await provisionFleet(ca, ids, "sensor")).map((identity) => new Board(identity.id, new FleetStores(identity)));
}

/** Publishes from each board and sees every message arrive at an operator. */
async function accept(home: Home, fleet: readonly Board[]): Promise<void> {
  const { keyPem: key, chainPem: cert, trustAnchorPem: ca } = await home.ca.issueClient({ name: "desk", role: "operator", replace: true });
  await home.reload();
  const options = { host: "localhost", port: home.ports.mtlsPort, protocol: "mqtts" as const, clientId: "desk", key, cert, ca };
  const desk = await mqtt.connectAsync(options);
  const left = new Set(fleet.map(({ id }) => `devices/${id}/up/year ${stop}`));
  const arrived = new Promise<void>((resolve) => {
    desk.on("message", (topic, payload) => {
      left.delete(`${topic} ${payload.toString("utf8")}`);
      if (left.size === 0) resolve();
    });
  });
  await desk.subscribeAsync("devices/+/up/#", { qos: 1 });
  await Promise.all(fleet.map(({ device }) => device?.publish("up/year", String(stop))));
  await arrived;
  await desk.endAsync(true);
}

/** A broker under the same names whose CA the fleet does not trust: nobody may come to it. */
async function expectNobodyAt(impostor: Home, fleet: readonly Board[], why: string): Promise<void> {
  for (const board of fleet) {
    board.boot({ ...impostor, ports: { ...impostor.ports, pskPort: impostor.ports.mtlsPort } } as Home);
    await board.seen(({ type }) => type === "disconnected");
    const [ended] = board.history.filter(({ type }) => type === "disconnected");
    need(ended?.type === "disconnected" && ended.code === "SERVER_CA_UNKNOWN", `${board.id} at ${why}: ${JSON.stringify(ended)}`);
    need(!board.said("connected"), `${board.id} came to ${why}`);
    await board.off();
  }
}

async function newCa(directory: string, lifetimesMs: NonNullable<InitOptions["lifetimesMs"]>): Promise<CertificateAuthority> {
  await initCa(directory, { name: "Plant 7", brokerHosts: ["localhost"], passphrase, scryptCost: TEST_SCRYPT_COST, lifetimesMs });
  return openCa(directory, passphrase);
}

/** What the operator of the CA does at each stop, before the fleet is switched on. */
const OPERATOR: Readonly<Record<number, (home: Home) => Promise<Home>>> = {
  2: async (home) => {
    passphrase = "four other words of the second year";
    await home.ca.changePassphrase(passphrase, TEST_SCRYPT_COST);
    home.ca = await openCa(place, passphrase);
    return home;
  },
  4: async (home) => (await home.ca.rollOver(), home),
  5: retire,
  6: async (home) => (await home.ca.backUp(join(work, "backup")), home),
  // The disk is lost: what happened since stop 6 is known to the broker's revocation list alone.
  7: async (home) => {
    const list = readFileSync(join(place, "crl.pem"), "utf8");
    rmSync(place, { recursive: true });
    place = join(work, "ca-restored");
    const backup = openBackup(readFileSync(join(work, "backup")), passphrase, "backup");
    await restoreCa(backup, place, { passphrase, lists: new Map([["broker", list]]) });
    const { ports } = home;
    await home.end();
    return Home.of(await openCa(place, passphrase), ports);
  },
  8: async (home) => {
    await home.ca.backUp(join(work, "stolen"));
    await home.ca.revoke({ id: "stolen", reason: "keyCompromise" });
    return home;
  },
  9: async (home) => (await home.ca.rollOverRoot(), home),
  10: retire,
  11: async (home) => (await home.ca.moveRegistry("postgres", { urlFile }), home),
  13: async (home) => (await home.ca.rollOver(), home),
  14: retire,
  // The machine is lost, and another goes on with what the database has.
  15: async (home) => {
    const { ports } = home;
    await home.end();
    rmSync(place, { recursive: true });
    place = join(work, "ca-joined");
    await joinRegistry(place, { passphrase, urlFile });
    return Home.of(await openCa(place, passphrase), ports);
  },
};

/** Never by force: it is refused while a device hangs on the old one. */
async function retire(home: Home): Promise<Home> {
  const { leftBehind } = await home.ca.retirePrevious();
  need(leftBehind.length === 0, `left behind: ${leftBehind.join()}`);
  return home;
}

async function live(): Promise<void> {
  moveClock(0);
  let home = await Home.of(await newCa(place, { root: ROOT_MS }));
  const impostor = await newCa(join(work, "impostor"), { root: 2 * ROOT_MS, issuing: 2 * ROOT_MS });
  const fleet = await boards(home.ca, ["one", "two"]);
  const [attic, stolen] = (await boards(home.ca, ["attic", "stolen"])) as [Board, Board];
  const brokers = new Set<string>();
  const roots = new Set<string>();
  for (stop = 0; stop < STOPS; stop++) {
    moveClock(stop * STRIDE_DAYS);
    home = (await OPERATOR[stop]?.(home)) ?? home;
    // Daily, by cron: the broker's certificate and the lists are renewed with it.
    await home.ca.renewCrl();
    await home.reload();
    const view = openCaReadOnly(place);
    const { parts } = statusOf(view, Date.now());
    const late = parts.filter(({ what, state }) => state === "expired" && what !== "authority" && what !== "previous-root");
    need(late.length === 0, `expired: ${late.map(({ what }) => what).join()}`);
    brokers.add(serialOf(view.broker ?? new Uint8Array()));
    view.trustAnchors.map(serialOf).forEach((serial) => roots.add(serial));
    await home.startAuthority();
    // The attic is off from the seventh stop to the twelfth: rollover and end of its root are over when it comes back.
    const on = [...fleet, ...(stop < 7 ? [attic, stolen] : []), ...(stop >= 12 ? [attic] : [])];
    for (const board of on) board.boot(home);
    for (const board of on) {
      const isBack = board === attic && stop === 12;
      await board.seen(({ type }) => type === (isBack ? "recovered" : stop === 0 ? "connected" : "renewed"));
      need(
        isBack || !board.everSaid.some((event) => event.type === "credential-changed" && event.to === "psk") || board === attic,
        `${board.id} needed its pre-shared key`,
      );
      need(!board.said("anchors-refused"), `${board.id} was offered a wrong anchor`);
    }
    await accept(home, on);
    await Promise.all(on.map((board) => board.off()));
    const present = view.trustAnchors.map(serialOf);
    for (const board of on) {
      need(
        board.anchors.every((serial) => roots.has(serial)),
        `${board.id} trusts ${board.anchors.join()}`,
      );
      need(board.anchors.includes(present[0] ?? ""), `${board.id} does not trust the present root`);
    }
    // With the renewal after the old root's end, it is forgotten.
    if (stop === 11) for (const board of fleet) need(board.anchors.length === 1, `${board.id} still trusts ${board.anchors.join()}`);
    if (stop === 8) {
      stolen.boot(home);
      await stolen.seen(() => stolen.history.filter(({ type }) => type === "disconnected").length >= 4);
      need(!stolen.said("connected"), "the stolen device came in");
      await stolen.off();
    }
    await home.authority?.stop();
    if (stop === 0 || stop === 9 || stop === STOPS - 1) {
      await impostor.renewCrl();
      const strange = await Home.of(impostor);
      await expectNobodyAt(strange, fleet, "an impostor's broker");
      await strange.end();
    }
    if (stop === 12) {
      // Whoever stole the CA before its root was replaced.
      const directory = join(work, "thief");
      const copy = openBackup(readFileSync(join(work, "stolen")), passphrase, "stolen");
      renameSync(place, `${place}.hidden`);
      process.env["HAWSER_STATE_DIR"] = join(work, "thief-state");
      await restoreCa(copy, directory, { passphrase, lists: new Map(), withoutLists: true });
      process.env["HAWSER_STATE_DIR"] = join(work, "state");
      renameSync(`${place}.hidden`, place);
      const thief = await openCa(directory, passphrase);
      await thief.rollOver();
      const strange = await Home.of(thief);
      await expectNobodyAt(strange, fleet, "a broker of the old root's thief");
      await strange.end();
    }
    process.stdout.write(
      `${JSON.stringify({ stop, on: on.map(({ id }) => id), at: new Date().toISOString().slice(0, 10), roots: present.length })}\n`,
    );
  }
  const { problems } = await verifyCa(place, passphrase);
  need(problems.length === 0, problems.join());
  need(brokers.size >= 6, `the broker had ${brokers.size} certificates`);
  await home.end();
  const years = (STOPS * STRIDE_DAYS) / 365.25;
  process.stdout.write(
    `${JSON.stringify({ done: true, years: Math.floor(years), roots: roots.size, brokers: brokers.size, root: toPem("CERTIFICATE", home.ca.trustAnchors[0] ?? new Uint8Array()).length > 0 })}\n`,
  );
}

await live();
process.exit(0);
