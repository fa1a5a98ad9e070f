/** A real mosquitto that runs with the files of a CA, and the question whether it lets a certificate in. */
import { join } from "node:path";
import mqtt from "mqtt";
import type { CertificateAuthority } from "../../../host-tools/ca/certificate-authority.js";
import { freePorts, type Scene } from "./scene.js";

export interface Certified {
  readonly id: string;
  readonly chainPem: string;
  readonly keyPem: string;
}

/** Whether a client with this certificate, which trusts these roots (PEM), comes in. */
export type Connects = (one: Certified, roots: string) => Promise<boolean>;

/** Starts the broker of the CA beside its directory; it and its clients end with the scene. */
export async function runningBroker(scene: Scene, ca: CertificateAuthority): Promise<Connects> {
  const [mtlsPort, pskPort] = await freePorts();
  const out = join(ca.directory, "..", "broker");
  const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort, pskPort, bind: "127.0.0.1" });
  await scene.mosquitto(configFile);
  return ({ id, chainPem, keyPem }, roots) => {
    const options = { host: "127.0.0.1", port: mtlsPort, protocol: "mqtts" as const, clientId: id, reconnectPeriod: 0 };
    const client = scene.client(mqtt.connect({ ...options, key: keyPem, cert: chainPem, ca: roots }));
    return new Promise((resolve) => {
      client.once("connect", () => resolve(true));
      client.once("error", () => resolve(false));
      client.once("close", () => resolve(false));
    });
  };
}
