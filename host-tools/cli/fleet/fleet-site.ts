/** A place for a fleet to live in when the user has none: a CA, a broker and an enrolment authority that are gone with the run. */
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrokerEvent } from "../../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { findMosquitto, startMosquitto, type RunningMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";
import { HawserError } from "../../../sdk/errors.js";
import { openCa, type CertificateAuthority } from "../../ca/certificate-authority.js";
import { initCa } from "../../ca/ca-creation.js";
import { forgetRevision } from "../../ca-directory/revision-witness.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import type { AuthorityService, ServiceEvent } from "../../authority/service.js";
import { enrolmentService } from "../enrolment-service.js";
import { embeddedMaterial } from "../foreground-broker/broker-material.js";

const PREFIX = "hawser-fleet-";
/**
 * Until so many devices, mosquitto saves each change: a kill -9 then loses nothing that it acknowledged. Beyond, saving would be all it
 * does.
 */
const SAVED_DEVICES = 500;
/** The passphrase is 128 random bits: stretching it would add nothing. */
const NO_STRETCHING = { cost: 2, blockSize: 1, parallelization: 1 };

export type SiteEngine = "embedded" | "mosquitto";

export interface SiteOptions {
  readonly engine: SiteEngine;
  readonly devices: number;
  /** Milliseconds a device's certificate lives; the CA's default when left out. */
  readonly deviceLifetimeMs?: number;
  readonly onBrokerEvent?: (event: BrokerEvent) => void;
}

/** mosquitto where it is installed, as most fleets meet it; else the embedded broker. */
export function usualEngine(): SiteEngine {
  try {
    findMosquitto();
    return "mosquitto";
  } catch {
    return "embedded";
  }
}

export class FleetSite {
  readonly directory = passingDirectory();
  #ca: CertificateAuthority | undefined;
  #authority: AuthorityService | undefined;
  #embedded: EmbeddedBroker | undefined;
  #mosquitto: RunningMosquitto | undefined;
  #configFile = "";
  #unwatch: () => void = () => undefined;
  mtlsPort = 0;
  pskPort = 0;

  constructor(private readonly options: SiteOptions) {}

  get ca(): CertificateAuthority {
    if (this.#ca === undefined) throw new Error("the site was not built");
    return this.#ca;
  }

  async build(): Promise<void> {
    const passphrase = randomBytes(16).toString("hex");
    const directory = join(this.directory, "ca");
    const { deviceLifetimeMs } = this.options;
    await initCa(directory, {
      name: "Hawser fleet",
      passphrase,
      scryptCost: NO_STRETCHING,
      ...(deviceLifetimeMs === undefined ? {} : { lifetimesMs: { device: deviceLifetimeMs } }),
    });
    // The CA knows a broker by the name of its configuration file, and this one has another: it is told of changes here.
    this.#ca = await openCa(directory, passphrase, { onOutput: ({ changed }) => changed.length > 0 && this.#mosquitto?.reload() });
  }

  /** Starts the broker, or starts it again on the same ports. */
  async startBroker(): Promise<void> {
    if (this.options.engine === "mosquitto") return this.#startMosquitto();
    const limits = {
      maxConnections: this.options.devices + 100,
      maxSessions: 2 * this.options.devices + 100,
      maxHalfOpen: this.options.devices + 100,
      maxHalfOpenPerNetwork: this.options.devices + 100,
      maxMessagesPerSecond: 100_000,
      connectTimeoutMs: 60_000,
      maxQueuedMessages: 1_000_000,
      maxQueuedBytes: 2 ** 30,
      maxBufferedBytes: 2 ** 28,
    };
    const { mtlsPort, pskPort } = this;
    const persistence = this.#embedded === undefined ? {} : { persistence: this.#embedded.persistence };
    this.#embedded = new EmbeddedBroker({
      material: embeddedMaterial(await this.ca.brokerMaterial()),
      mtlsPort,
      pskPort,
      limits,
      ...persistence,
    });
    if (this.options.onBrokerEvent) this.#embedded.onEvent(this.options.onBrokerEvent);
    ({ mtlsPort: this.mtlsPort, pskPort: this.pskPort } = await this.#embedded.start());
    this.#unwatch();
    this.#unwatch = watchCa(this.ca.directory, () => void this.reload());
  }

  async #startMosquitto(): Promise<void> {
    if (this.#configFile === "") {
      [this.mtlsPort = 0, this.pskPort = 0] = await freePorts(2);
      const out = join(this.directory, "mosquitto");
      mkdirSync(out, { mode: 0o755 });
      const { configFile } = await this.ca.writeBrokerConfig({
        engine: "mosquitto",
        out,
        mtlsPort: this.mtlsPort,
        pskPort: this.pskPort,
        bind: "localhost",
      });
      this.#configFile = join(out, "fleet.conf");
      writeFileSync(this.#configFile, forFleet(readFileSync(configFile, "utf8"), this.options.devices), { mode: 0o644 });
    }
    this.#mosquitto = await startMosquitto({ configFile: this.#configFile, ports: [this.mtlsPort, this.pskPort], startTimeoutMs: 60_000 });
  }

  /** Has the broker take over what changed in the CA. */
  async reload(): Promise<void> {
    if (this.options.engine === "mosquitto") this.#mosquitto?.reload();
    else this.#embedded?.reload(embeddedMaterial(await this.ca.brokerMaterial()));
  }

  /** As by `kill -9`; resolves when it is gone. */
  async killBroker(): Promise<void> {
    await this.#embedded?.kill();
    await this.#mosquitto?.kill();
  }

  /** Resolves when the authority is connected. @throws HawserError as `enrolmentService`; the site is then without one */
  async startAuthority(): Promise<void> {
    let connected = (): void => undefined;
    const served = new Promise<void>((resolve) => (connected = resolve));
    const onEvent = ({ event }: ServiceEvent): void => {
      if (event === "connected") connected();
    };
    const service = await enrolmentService(this.ca, { host: "localhost", port: this.mtlsPort }, onEvent, { perHour: 0, burst: 0 });
    this.#authority = service;
    await this.reload();
    service.start();
    await served;
  }

  async stopAuthority(): Promise<void> {
    await this.#authority?.stop();
    this.#authority = undefined;
  }

  /** Ends everything and removes the directory; also after a step that failed half-way. */
  async strike(): Promise<void> {
    this.#unwatch();
    await this.#authority?.stop();
    await this.#embedded?.stop();
    await this.#mosquitto?.kill();
    forgetRevision(join(this.directory, "ca"));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The CA's own configuration, with room for a witness that reads everything: it must never be the one to lose a message. */
function forFleet(config: string, devices: number): string {
  return config
    .replace(/^max_queued_messages .*$/m, "max_queued_messages 0")
    .replace(/^max_queued_bytes .*$/m, "max_queued_bytes 0")
    .replace(/^max_inflight_messages .*$/m, "max_inflight_messages 2000")
    .replace(/^autosave_on_changes .*$/m, `autosave_on_changes ${devices <= SAVED_DEVICES}`)
    .replace(/^connection_messages .*$/m, "connection_messages false");
}

/** In memory where the system has such a place: thousands of certificates are written, and none is worth a disk's time. */
function passingDirectory(): string {
  const parent = isWritable("/dev/shm") ? "/dev/shm" : tmpdir();
  clearDead(parent);
  const directory = mkdtempSync(join(parent, PREFIX));
  lock(directory);
  // mosquitto, started as root, becomes another user and must be able to enter.
  chmodSync(directory, 0o755);
  return directory;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** A run that was killed could not remove its own place, with keys in it: the next one does. */
function clearDead(parent: string): void {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith(PREFIX))) {
    const directory = join(parent, name);
    try {
      lock(directory);
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // Its run is alive, it is another user's, or it is gone already.
    }
  }
}

function lock(directory: string): void {
  lockNow(join(directory, "lock"), () => new HawserError("PLACE_HELD", `another fleet lives in ${directory}`, "Leave it alone."));
}
