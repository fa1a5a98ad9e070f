/** The brokers the demo plays against: each can die as by `kill -9` and come back on the same ports. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { startMosquitto, type RunningMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import { embeddedMaterial } from "../foreground-broker/broker-material.js";

export interface DemoBroker {
  readonly mtlsPort: number;
  readonly pskPort: number;
  start(): Promise<void>;
  /** Dies at once; what a broker with a disk would keep, it keeps. */
  kill(): Promise<void>;
  /** Takes over what changed in the CA. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

export class EmbeddedDemoBroker implements DemoBroker {
  #broker: EmbeddedBroker | undefined;
  #unwatch: () => void = () => undefined;
  mtlsPort = 0;
  pskPort = 0;

  constructor(private readonly ca: CertificateAuthority) {}

  async start(): Promise<void> {
    const { mtlsPort, pskPort } = this;
    const persistence = this.#broker === undefined ? {} : { persistence: this.#broker.persistence };
    this.#broker = new EmbeddedBroker({ material: embeddedMaterial(await this.ca.brokerMaterial()), mtlsPort, pskPort, ...persistence });
    ({ mtlsPort: this.mtlsPort, pskPort: this.pskPort } = await this.#broker.start());
    this.#unwatch();
    this.#unwatch = watchCa(this.ca.directory, () => void this.reload());
  }

  async kill(): Promise<void> {
    await this.#broker?.kill();
  }

  async reload(): Promise<void> {
    this.#broker?.reload(embeddedMaterial(await this.ca.brokerMaterial()));
  }

  async stop(): Promise<void> {
    this.#unwatch();
    await this.#broker?.stop();
  }
}

export class MosquittoDemoBroker implements DemoBroker {
  #running: RunningMosquitto | undefined;
  #configFile = "";
  mtlsPort = 0;
  pskPort = 0;

  constructor(
    private readonly ca: CertificateAuthority,
    private readonly directory: string,
  ) {}

  async start(): Promise<void> {
    if (this.#configFile === "") {
      const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
      Object.assign(this, { mtlsPort, pskPort });
      const out = join(this.directory, "mosquitto");
      mkdirSync(out, { mode: 0o755 });
      ({ configFile: this.#configFile } = await this.ca.writeBrokerConfig({
        engine: "mosquitto",
        out,
        mtlsPort,
        pskPort,
        bind: "localhost",
      }));
    }
    this.#running = await startMosquitto({ configFile: this.#configFile, ports: [this.mtlsPort, this.pskPort] });
  }

  async kill(): Promise<void> {
    await this.#running?.kill();
  }

  /** Every change of the CA rewrites the configuration and signals the broker by itself. */
  async reload(): Promise<void> {
    await this.ca.syncOutputs();
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
  }
}
