/**
 * One waking of a device as a process of its own: opens the vault, delivers a reading, prints whether TLS was resumed and what became of
 * the reading, and ends. Arguments: vault, passphrase, port, TLS version.
 */
import { writeSync } from "node:fs";
import type { SecureVersion } from "node:tls";
import { Device } from "../../../sdk/device/device.js";
import { nodePlatform } from "../../../sim/node/node-platform.js";
import { Vault } from "../../../sim/node/vault/vault.js";

const [path = "", passphrase = "", port = "", maxTlsVersion = ""] = process.argv.slice(2);
const vault = Vault.open(path, passphrase);
const platform = nodePlatform({ vault, keepSessions: true, maxTlsVersion: maxTlsVersion as SecureVersion });
const device = new Device({ broker: { host: "localhost", port: Number(port) }, enrolment: false }, platform);
device.listen((event) => {
  if (event.type === "connected") writeSync(1, `${JSON.stringify({ tlsVersion: event.tlsVersion, resumed: event.resumed })}\n`);
});
const { messages } = await device.deliver([{ topic: "up/reading", payload: "21.5" }], { listenMs: 0 });
writeSync(1, `${messages[0]?.state ?? ""}\n`);
vault.close();
