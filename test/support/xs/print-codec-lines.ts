/** Prints what the SDK's codec makes of every packet on XS. Test material. */
import { print } from "../../../sim/xs/host-natives.js";
import { codecLines } from "../mqtt/codec-lines.js";

for (const line of codecLines()) print(JSON.stringify(line));
