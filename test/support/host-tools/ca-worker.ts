/**
 * A process that provisions on a CA, for tests of several processes and of killed ones. Arguments: directory, passphrase, ids. Prints one
 * line an id: `won ID`, or `lost ID CODE`; begins when its standard input ends.
 */
import { once } from "node:events";
import { errorCode } from "../../../sdk/errors.js";
import { openCa } from "../../../host-tools/ca/certificate-authority.js";
import { provisionDevice } from "./scene.js";

const [directory = "", passphrase = "", ...ids] = process.argv.slice(2);
const ca = await openCa(directory, passphrase);
process.stdout.write("ready\n");
await once(process.stdin.resume(), "end");
for (const id of ids) {
  try {
    await provisionDevice(ca, id);
    process.stdout.write(`won ${id}\n`);
  } catch (error) {
    process.stdout.write(`lost ${id} ${errorCode(error)}\n`);
  }
}
