/**
 * A small site as a user sets it up, by the command line alone: a CA, one device, an operator's credentials, a real mosquitto, the
 * enrolment authority.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import { onTestFinished } from "vitest";
import { hawser, RunningCli, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { startMosquitto, type RunningMosquitto } from "../../sim/brokers/mosquitto-launcher.js";

export const PASSPHRASE = "a passphrase for the end-to-end tests";

export interface Site {
  directory: string;
  env: Record<string, string>;
  url: string;
  pskUrl: string;
  mtlsPort: number;
  pskPort: number;
  mosquitto: RunningMosquitto;
  authority: RunningCli;
  /** Runs a command that must succeed; resolves with its standard output. */
  run(...args: string[]): Promise<string>;
  /** Starts mosquitto again after it was killed. */
  restart(): Promise<void>;
}

export async function makeSite(): Promise<Site> {
  const directory = temporaryDirectory();
  const env = { HAWSER_PASSPHRASE: PASSPHRASE };
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await hawser(args, { cwd: directory, env });
    if (code !== 0) throw new Error(`hawser ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  };
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  await run("ca", "init", "--dir", "ca", "--name", "Site", "--broker-host", "localhost");
  await run("provision", "--dir", "ca", "--id", "sensor-1", "--vault", "vault");
  await run("issue", "--dir", "ca", "--name", "observer", "--role", "operator", "--out", "observer");
  await run(
    "broker",
    "config",
    "--dir",
    "ca",
    "--for",
    "mosquitto",
    "--out",
    "broker",
    "--mtls-port",
    String(mtlsPort),
    "--psk-port",
    String(pskPort),
  );
  const start = (): Promise<RunningMosquitto> =>
    startMosquitto({ configFile: join(directory, "broker/mosquitto.conf"), ports: [mtlsPort, pskPort] });
  const url = `mqtts://localhost:${mtlsPort}`;
  const mosquitto = await start();
  onTestFinished(() => site.mosquitto.kill());
  const authority = new RunningCli(["authority", "--dir", "ca", "--url", url], { cwd: directory, env });
  await authority.waitFor("connected");
  const site: Site = {
    directory,
    env,
    url,
    pskUrl: `mqtts://localhost:${pskPort}`,
    mtlsPort,
    pskPort,
    mosquitto,
    authority,
    run,
    restart: async () => void (site.mosquitto = await start()),
  };
  return site;
}

export interface Observed {
  topic: string;
  text: string;
}

/** Sees all that devices send, by MQTT.js and the operator's own credentials; keeps its session over the broker's deaths. */
export class Observer {
  readonly seen: Observed[] = [];
  readonly #client: mqtt.MqttClient;
  readonly #looks = new Set<() => void>();

  private constructor(site: Site) {
    const file = (name: string): Buffer => readFileSync(join(site.directory, "observer", name));
    const tls = { key: file("client.key.pem"), cert: file("client.crt.pem"), ca: file("ca.crt.pem") };
    this.#client = mqtt.connect({
      protocol: "mqtts",
      host: "localhost",
      port: site.mtlsPort,
      ...tls,
      clientId: "observer",
      clean: false,
      protocolVersion: 4,
      reconnectPeriod: 50,
      reconnectOnConnackError: true,
    });
    this.#client.on("error", () => undefined);
    this.#client.on("message", (topic, payload) => {
      this.seen.push({ topic, text: payload.toString("utf8") });
      for (const look of [...this.#looks]) look();
    });
    onTestFinished(async () => {
      await this.#client.endAsync(true);
    });
  }

  static async watching(site: Site, filter: string): Promise<Observer> {
    const observer = new Observer(site);
    await observer.#client.subscribeAsync(filter, { qos: 1 });
    return observer;
  }

  publish(topic: string, text: string): Promise<unknown> {
    return this.#client.publishAsync(topic, text, { qos: 1 });
  }

  /** Resolves when what was seen so far fulfils `condition`. */
  until(condition: (seen: readonly Observed[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition(this.seen)) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }
}
