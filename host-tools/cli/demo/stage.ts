/** Everything the story plays with: a CA, a broker, an authority, a device and a watcher, in a temporary directory and on loopback. */
import { randomBytes } from "node:crypto";
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { Device } from "../../../sdk/device/device.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import type { AuthorityService } from "../../authority/service.js";
import { openCa, type CertificateAuthority } from "../../ca/certificate-authority.js";
import { initCa } from "../../ca/ca-creation.js";
import { provision } from "../devices/provision.js";
import { enrolmentService } from "../enrolment-service.js";
import { StopSignal } from "../stop-signal.js";
import { Terminal } from "../terminal.js";
import { EmbeddedDemoBroker, MosquittoDemoBroker, type DemoBroker } from "./demo-broker.js";
import { demoDirectory } from "./demo-place.js";
import { Watcher } from "./watcher.js";
import { within } from "./within.js";

export const DEVICE_ID = "sensor-1";
const WATCHER = "demo-watcher";

export class Stage {
  readonly directory = demoDirectory();
  readonly passphrase = randomBytes(16).toString("hex");
  readonly events: DeviceEvent[] = [];
  readonly #waiting = new Set<() => void>();
  #ca: CertificateAuthority | undefined;
  #broker: DemoBroker | undefined;
  #authority: AuthorityService | undefined;
  #vault: Vault | undefined;
  #device: Device | undefined;
  #watcher: Watcher | undefined;

  constructor(
    readonly engine: "embedded" | "mosquitto",
    /** Told of everything the device reports. */
    private readonly onEvent: (event: DeviceEvent) => void,
  ) {
    // What this CA is remembered by goes when it does.
    process.env["HAWSER_STATE_DIR"] = join(this.directory, "state");
    // mosquitto, started as root, becomes another user and must be able to enter.
    if (engine === "mosquitto") chmodSync(this.directory, 0o755);
  }

  get ca(): CertificateAuthority {
    return built(this.#ca);
  }

  get broker(): DemoBroker {
    return built(this.#broker);
  }

  get device(): Device {
    return built(this.#device);
  }

  get watcher(): Watcher {
    return built(this.#watcher);
  }

  async build(): Promise<void> {
    const { directory, passphrase } = this;
    const caDirectory = join(directory, "ca");
    await initCa(caDirectory, { name: "Hawser demo", brokerHosts: ["localhost"], passphrase });
    const ca = await openCa(caDirectory, passphrase);
    this.#ca = ca;
    this.#broker = this.engine === "mosquitto" ? new MosquittoDemoBroker(ca, directory) : new EmbeddedDemoBroker(ca);
    await this.broker.start();
    const { mtlsPort } = this.broker;
    const vaultPath = join(directory, "sensor-1.vault");
    const env = { HAWSER_PASSPHRASE: passphrase };
    await provision(
      { dir: caDirectory, id: DEVICE_ID, role: "sensor", vault: vaultPath },
      { terminal: silent(), stop: new StopSignal(), env },
    );
    this.#vault = await Vault.open(vaultPath, passphrase);
    const operator = await ca.issueClient({ name: WATCHER, role: "operator" });
    // Its start tells the broker of all names made so far.
    this.#authority = await this.#startAuthority(ca, mtlsPort);
    this.#watcher = new Watcher(operator, WATCHER, mtlsPort);
    await this.#watcher.online();
  }

  /** Resolves when it serves. */
  async #startAuthority(ca: CertificateAuthority, port: number): Promise<AuthorityService> {
    let served: () => void = () => undefined;
    const serves = new Promise<void>((resolve) => (served = resolve));
    const service = await enrolmentService(ca, { host: "localhost", port }, (event) => event.event === "connected" && served());
    await this.broker.reload();
    service.start();
    await within(serves, "the enrolment authority's connection");
    return service;
  }

  startDevice(): void {
    const { mtlsPort, pskPort } = this.broker;
    const config = {
      broker: { host: "localhost", port: mtlsPort },
      recovery: { host: "localhost", port: pskPort },
      outbox: { persistent: true },
      // The real policy is made for fleets and hours; the story has a minute.
      backoff: { baseMs: 400, capMs: 3_000, stableAfterMs: 3_000 },
      recoveryPatience: { refusals: 2, minimumMs: 500, maximumMs: 500 },
    };
    this.#device = new Device(config, nodePlatform({ vault: built(this.#vault) }));
    this.#device.listen((event) => {
      this.events.push(event);
      this.onEvent(event);
      for (const look of this.#waiting) look();
    });
    this.#device.start();
  }

  /** The first event of a type (that fits) from position `from` on in {@link events}, heard already or still to come. */
  async hears<Type extends DeviceEvent["type"]>(
    type: Type,
    from: number,
    fits: (event: Extract<DeviceEvent, { type: Type }>) => boolean = () => true,
  ): Promise<Extract<DeviceEvent, { type: Type }>> {
    type Wanted = Extract<DeviceEvent, { type: Type }>;
    const isWanted = (event: DeviceEvent): event is Wanted => event.type === type && fits(event as Wanted);
    return within(
      new Promise<Wanted>((resolve) => {
        const look = (): void => {
          const found = this.events.slice(from).find(isWanted);
          if (!found) return;
          this.#waiting.delete(look);
          resolve(found);
        };
        this.#waiting.add(look);
        look();
      }),
      `the device's event "${type}"`,
    );
  }

  /** Ends everything and removes the directory; also after a step that failed half-way. */
  async strike(): Promise<void> {
    await this.#device?.stop();
    await this.#watcher?.stop();
    await this.#authority?.stop();
    await this.#broker?.stop();
    this.#vault?.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function built<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("this part of the stage is not built yet");
  return part;
}

function silent(): Terminal {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() }) as NodeJS.WriteStream;
  return new Terminal(true, nowhere, nowhere, {});
}
