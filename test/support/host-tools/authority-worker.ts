/**
 * A process that renews devices' certificates on a CA, as an enrolment authority does, for tests of several processes. Arguments:
 * directory, passphrase, rounds, ids. Prints `issued ID SERIAL` for each certificate; begins when its standard input ends.
 */
import { once } from "node:events";
import { errorCode } from "../../../sdk/errors.js";
import { openCa } from "../../../host-tools/ca/certificate-authority.js";
import { testKey } from "./scene.js";

const [directory = "", passphrase = "", rounds = "", ...ids] = process.argv.slice(2);
const ca = await openCa(directory, passphrase);
process.stdout.write("ready\n");
await once(process.stdin.resume(), "end");
for (let round = 0; round < Number(rounds); round += 1) {
  for (const id of ids) {
    try {
      const { serial } = await ca.issueFromCsr(id, (await testKey(id)).csr);
      process.stdout.write(`issued ${id} ${serial}\n`);
      await ca.retireOlder(id, serial);
      process.stdout.write(`retired ${id} ${serial}\n`);
    } catch (error) {
      process.stdout.write(`failed ${id} ${errorCode(error)}\n`);
    }
  }
}
