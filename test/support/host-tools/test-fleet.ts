/** For tests: a CA directory with cheap passphrases, and an MQTT client of another make that looks on from outside. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import type { MqttClient } from "mqtt";
import { expect, onTestFinished } from "vitest";
import { TEST_SCRYPT_COST } from "../../../sim/node/vault/sealed.js";
import { initCa } from "../../../host-tools/ca/ca-creation.js";
import type { InitOptions } from "../../../host-tools/ca/ca-creation.js";
import type { CliOptions } from "./test-cli.js";
import { hawser, RunningCli, temporaryDirectory } from "./test-cli.js";

export const PASSPHRASE = "correct-horse-battery-staple";
export const ENV = { HAWSER_PASSPHRASE: PASSPHRASE };

/** A directory with a CA in `ca`; gone with the test. */
export async function directoryWithCa(options: Partial<InitOptions> = {}): Promise<string> {
  const cwd = temporaryDirectory();
  await makeCa(cwd, options);
  return cwd;
}

/** A CA in `ca` of a directory. */
export async function makeCa(cwd: string, options: Partial<InitOptions> = {}): Promise<void> {
  await initCa(join(cwd, "ca"), { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, ...options });
}

/** Runs a command that must succeed, and returns what it printed as JSON. */
export async function json<T>(cwd: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await hawser([...args, "--json"], { cwd, env: ENV });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as T;
}

export interface Ports {
  readonly mtlsPort: number;
  readonly pskPort: number;
}

/** `hawser broker run`, ready. */
export async function runningBroker(
  cwd: string,
  engine: "embedded" | "mosquitto",
  ports: Ports = { mtlsPort: 0, pskPort: 0 },
  more: Pick<CliOptions, "atEnd"> = {},
): Promise<{ broker: RunningCli } & Ports> {
  const args = ["--dir", "ca", "--engine", engine, "--mtls-port", String(ports.mtlsPort), "--psk-port", String(ports.pskPort)];
  const broker = new RunningCli(["broker", "run", ...args], { cwd, env: ENV, ...more });
  const { mtlsPort, pskPort } = await broker.waitFor("ready");
  return { broker, mtlsPort: Number(mtlsPort), pskPort: Number(pskPort) };
}

export const url = (port: number): string => `mqtts://localhost:${port}`;

export interface Seen {
  readonly topic: string;
  readonly text: string;
}

/** MQTT.js with credentials of `hawser issue`. */
export class Watcher {
  readonly seen: Seen[] = [];
  readonly #waiting = new Set<() => void>();

  private constructor(private readonly client: MqttClient) {
    client.on("message", (topic, payload) => {
      this.seen.push({ topic, text: payload.toString("utf8") });
      for (const look of [...this.#waiting]) look();
    });
  }

  /** Issues credentials for `name` and subscribes to everything of all devices. */
  static async start(cwd: string, name: string, port: number): Promise<Watcher> {
    await json(cwd, "issue", "--dir", "ca", "--name", name, "--role", "operator", "--out", name);
    const [cert, key, ca] = ["client.crt.pem", "client.key.pem", "ca.crt.pem"].map((file) => readFileSync(join(cwd, name, file)));
    const client = mqtt.connect({
      protocol: "mqtts",
      host: "localhost",
      port,
      ...(cert && key && ca ? { cert, key, ca } : {}),
      clientId: name,
      clean: false,
      protocolVersion: 4,
      reconnectPeriod: 100,
      reconnectOnConnackError: true,
    });
    onTestFinished(() => void client.end(true));
    // Refusals until the broker knows the name, and a broker that dies on purpose: it tries again.
    client.on("error", () => undefined);
    const watcher = new Watcher(client);
    await new Promise((resolve) => client.once("connect", resolve));
    await client.subscribeAsync("devices/#", { qos: 1 });
    return watcher;
  }

  send(topic: string, text: string): Promise<unknown> {
    return this.client.publishAsync(topic, text, { qos: 1 });
  }

  /** The first message that fits, past or to come. */
  waitFor(fits: (message: Seen) => boolean): Promise<Seen> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.seen.find(fits);
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
