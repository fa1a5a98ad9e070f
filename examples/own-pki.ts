/**
 * A device whose certificate comes from a PKI of your own (own-pki.sh makes one with openssl). The device makes its key; only the
 * certificate request leaves it. Hawser's authority is not needed; without it, renew by running this again before the certificate expires.
 */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Device, installIdentity } from "hawser";
import { memoryKeyStore, memoryStorage, nodePlatform } from "hawser/node";

const ID = "sensor-1";
const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(der).toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE REQUEST-----\n`;
const certificate = (name: string): Uint8Array => new X509Certificate(readFileSync(`pki/${name}`)).raw;

// In memory for brevity: a product uses a vault (`Vault.create`), or the chip's key store.
const keyStore = memoryKeyStore();
const storage = memoryStorage();
keyStore.generate("key-a");
mkdirSync("pki", { recursive: true });
writeFileSync(`pki/${ID}.csr.pem`, pem(keyStore.csr("key-a", ID)));
execFileSync("bash", [new URL("own-pki.sh", import.meta.url).pathname, "pki", ID], { stdio: "inherit" });
installIdentity(storage, keyStore, {
  id: ID,
  role: "sensor",
  chain: [certificate(`${ID}.crt.pem`)],
  trustAnchors: [certificate("ca.crt.pem")],
});

if (!process.argv.includes("--connect")) process.exit();
const device = new Device({ broker: { host: "localhost", port: 8883 } }, nodePlatform({ keyStore, storage }));
device.listen((event) => console.log(event.type));
device.start();
await device.publish("up/hello", "from a PKI of my own", { qos: 1 });
console.log("delivered");
await device.stop();
