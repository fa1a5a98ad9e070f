/**
 * A process for the vault tests, made to be killed: opens the vault, and again and again raises a number in the record "count", prints it
 * once it is kept, makes a new key in "key-a" and removes and puts back the record "blink". Arguments: vault, passphrase.
 */
import { writeSync } from "node:fs";
import { Vault } from "../../../sim/node/vault/vault.js";

const [path = "", passphrase = ""] = process.argv.slice(2);
const vault = Vault.open(path, passphrase);
const { storage, keyStore } = vault;
let count = Number(Buffer.from(storage.get("count") ?? []).toString("utf8") || 0);

for (;;) {
  count += 1;
  storage.put("count", Buffer.from(String(count)));
  writeSync(1, `${count}\n`);
  keyStore.generate("key-a");
  storage.delete("blink");
  storage.put("blink", Buffer.alloc(2_000, count));
}
