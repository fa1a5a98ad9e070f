/** Prints what mqtt-packet makes of every packet on XS. Test material. */
import { roundTripAll } from "../../../sdk/shims/test-round-trip.js";
import { print } from "../../../sim/xs/host-natives.js";

for (const line of roundTripAll()) print(JSON.stringify(line));
