/** The virtual world on XS: plays each world it is asked for on standard input and prints its event log (`world-protocol.ts`). */
import { FAULT_KINDS } from "../virtual/faults/fault-plan.js";
import { World } from "../virtual/world/world.js";
import * as host from "./host-natives.js";
import type { WorldOutput, WorldRequest } from "./world-protocol.js";

const say = (output: WorldOutput): void => host.print(JSON.stringify(output));

/** The host runs a timer once no promise job is left, and has told of unhandled rejections by then: as `setImmediate` on Node. */
const drainOnXs = (): Promise<void> => new Promise((resolve) => void host.setTimer(0, resolve));

let playing: World | undefined;
let last = Promise.resolve();

async function play({ faults, ...request }: WorldRequest): Promise<void> {
  const kinds = FAULT_KINDS.filter(({ name }) => faults.includes(name));
  const world = new World({ ...request, faults: kinds, drain: drainOnXs, onLine: (line) => say({ line }) });
  playing = world;
  say({ result: await world.run() });
  playing = undefined;
}

host.onRejection((reason) => {
  // Outside of a world nobody is there to count it.
  if (playing === undefined) throw reason;
  playing.unhandled(reason);
});
host.onLine((line) => {
  last = last.then(() => (line === undefined ? host.exit(0) : play(JSON.parse(line) as WorldRequest)));
});
