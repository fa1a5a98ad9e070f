/** For the tests of host-tools: CAs in temporary directories, devices whose key the test holds, and the real mosquitto. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import type { MqttClient } from "mqtt";
import { TEST_SCRYPT_COST } from "../../../sim/node/vault/sealed.js";
import { openCa } from "../../../host-tools/ca/certificate-authority.js";
import type { CertificateAuthority, OpenOptions } from "../../../host-tools/ca/certificate-authority.js";
import { initCa } from "../../../host-tools/ca/ca-creation.js";
import type { InitOptions } from "../../../host-tools/ca/ca-creation.js";
import { pemChain } from "../../../host-tools/ca/context.js";
import { toPem } from "../../../host-tools/pki/pem.js";
import { generateKey, nodeCrypto } from "../../../host-tools/pki/signer.js";

export const PASSPHRASE = "correct horse battery staple";

/** Directories and processes a test made; `clean` ends and removes them, also after a failure. */
export class Scene {
  readonly #directories: string[] = [];
  readonly #processes: Mosquitto[] = [];
  readonly #clients: MqttClient[] = [];

  directory(): string {
    const path = mkdtempSync(join(tmpdir(), "hawser-host-tools-"));
    this.#directories.push(path);
    return path;
  }

  async ca(init: Partial<InitOptions> = {}, open: OpenOptions = {}): Promise<CertificateAuthority> {
    const directory = join(this.directory(), "ca");
    await initCa(directory, { name: "Test", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST, ...init });
    return openCa(directory, PASSPHRASE, open);
  }

  async mosquitto(configFile: string): Promise<Mosquitto> {
    const broker = new Mosquitto(configFile);
    this.#processes.push(broker);
    await broker.logged(/mosquitto version \S+ running/);
    return broker;
  }

  client<T extends MqttClient>(client: T): T {
    this.#clients.push(client);
    return client;
  }

  async clean(): Promise<void> {
    // Not waited for: a client that never connected may have nothing to tell of its end.
    for (const client of this.#clients.splice(0)) client.end(true);
    for (const broker of this.#processes.splice(0)) await broker.kill("SIGKILL");
    for (const path of this.#directories.splice(0)) rmSync(path, { recursive: true, force: true });
  }
}

export class Mosquitto {
  log = "";
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  #onLog: () => void = () => undefined;

  constructor(configFile: string) {
    this.#child = spawn("/usr/sbin/mosquitto", ["-c", configFile], { stdio: ["ignore", "ignore", "pipe"] });
    const killAtExit = (): void => void this.#child.kill("SIGKILL");
    process.once("exit", killAtExit);
    this.#closed = new Promise((resolve) =>
      this.#child.once("close", () => {
        process.off("exit", killAtExit);
        resolve();
      }),
    );
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.log += text;
      this.#onLog();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when the log has a line that matches. */
  logged(pattern: RegExp): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onLog = () => {
        if (pattern.test(this.log)) resolve();
      };
      this.#onLog();
      void this.#closed.then(() => reject(new Error(`mosquitto ended:\n${this.log}`)));
    });
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#closed;
  }
}

/** A device's key outside of any vault: the test may do with it what a thief could. */
export interface TestKey {
  readonly keyPem: string;
  readonly csr: Uint8Array;
}

export async function testKey(commonName: string): Promise<TestKey> {
  const { signer, publicKey, pkcs8 } = await generateKey();
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: new x509.Name([{ CN: [commonName] }]),
      keys: { privateKey: signer.privateKey, publicKey },
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    },
    nodeCrypto,
  );
  return { keyPem: toPem("PRIVATE KEY", pkcs8), csr: new Uint8Array(request.rawData) };
}

export interface TestDevice {
  readonly id: string;
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
  readonly psk: Buffer;
  readonly serial: string;
}

export async function provisionDevice(ca: CertificateAuthority, id: string, replace = false): Promise<TestDevice> {
  const { keyPem, csr } = await testKey(id);
  const reservation = await ca.reserve({ id, role: "sensor", replace });
  const { chain, trustAnchors, psk, serial } = await ca.complete(reservation, csr);
  await ca.activate(reservation);
  return { id, keyPem, chainPem: pemChain(chain), trustAnchorPem: pemChain(trustAnchors), psk, serial };
}

/** Two ports nobody listens on now. */
export async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ports.push((server.address() as AddressInfo).port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return [ports[0] ?? 0, ports[1] ?? 0];
}
