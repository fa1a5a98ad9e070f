/**
 * A device on the bench of a factory station that says anything at all: every answer is well-formed, no refusal is for want of a typed
 * error, and whatever the device was made to store, it is either still empty or has an identity that it can use.
 */
import { IdentityStore } from "../../../sdk/identity/store.js";
import { encodeFrame } from "../../../sdk/provisioning/frames.js";
import { isProvisioned, ProvisioningAgent } from "../../../sdk/provisioning/agent.js";
import { partsOf, WrittenByDevice } from "../../support/device/test-station.js";
import { MemoryStorage } from "../../support/mqtt/memory-storage.js";
import { VirtualKeys } from "../../../sim/virtual/power/key-store.js";
import { PowerSupply } from "../../../sim/virtual/power/power-supply.js";
import type { SeededRandom } from "../../../sim/virtual/random.js";
import { WORLD_BEGINS_MS } from "../../../sim/virtual/time/world-clock.js";
import { jsonBend } from "../json-bend.js";
import { promise, type Bend, type Target } from "../fuzz-target.js";
import { pieces } from "./packets-target.js";

const LINE_FEED = 10;
const MOST_REQUESTS = 12;

/** An input is one byte that says how the line is cut and damaged, then the requests of a station, one a line. */
export const provisioning: Target = {
  name: "provisioning",
  inputs: 60_000,
  maximumBytes: 16_000,
  bend: conversationBend(),
  async open() {
    return (input) => {
      const how = input[0] ?? 0;
      const storage = new MemoryStorage();
      const keyStore = new VirtualKeys("dev-1").open(new PowerSupply());
      const written = new WrittenByDevice();
      let done = 0;
      const agent = new ProvisioningAgent({
        storage,
        keyStore,
        write: written.write,
        knownTimeMs: () => WORLD_BEGINS_MS,
        onDone: () => done++,
      });
      for (const line of linesOf(input.subarray(1)).slice(0, MOST_REQUESTS)) {
        for (const piece of pieces(wire(line, how), how)) agent.receive(piece);
      }
      const refusals = written.answers.map(({ error }) => error?.code);
      promise(!refusals.includes("INTERNAL"), `an untyped error: ${written.answers.map(({ error }) => error?.message).join("; ")}`);
      if (!isProvisioned(storage)) {
        promise(done === 0, "the device is done without an identity");
        return refusals.find((code) => code !== undefined) ?? "empty";
      }
      const { device, active } = IdentityStore.load(storage, keyStore);
      promise(
        active !== undefined && active.certificate.commonName === device.id && keyStore.has(active.keySlot),
        "an identity that is none was installed",
      );
      return "provisioned";
    };
  },
};

/** A request in parts, each in its frame; in every fourth kind of line one byte is damaged. */
function wire(request: Uint8Array, how: number): Uint8Array {
  const line = new Uint8Array(Buffer.concat(partsOf(request.slice(0, 9_000), how).map(encodeFrame)));
  const at = (how * 37) % Math.max(1, line.length);
  if (how % 4 === 3 && line.length > 0) line[at] = (line[at] ?? 0) ^ 0x10;
  return line;
}

/** Bends single requests by their structure, and their order. */
function conversationBend(): Bend {
  return (random, base, other) => {
    let list = linesOf(base.subarray(1));
    const others = linesOf(other.subarray(1));
    for (let left = random.between(1, 3); left > 0; left--) list = bendLines(random, list, others);
    const how = random.chance(0.5) ? (base[0] ?? 0) : random.between(0, 255);
    return new Uint8Array(Buffer.concat([Uint8Array.of(how), ...list.flatMap((line) => [line, Uint8Array.of(LINE_FEED)])]));
  };
}

function bendLines(random: SeededRandom, list: readonly Uint8Array[], others: readonly Uint8Array[]): Uint8Array[] {
  const at = random.between(0, Math.max(0, list.length - 1));
  const line = list[at] ?? new Uint8Array(0);
  const theirs = others.length > 0 ? random.pick(others) : line;
  const kind = random.between(0, 7);
  if (kind === 0) return list.filter((_, index) => index !== at);
  if (kind === 1) return [...list.slice(0, at), random.chance(0.5) ? line : theirs, ...list.slice(at)];
  return list.map((old, index) => (index === at ? jsonBend(random, old, theirs) : old));
}

function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const feed = bytes.indexOf(LINE_FEED, at);
    const end = feed < 0 ? bytes.length : feed;
    lines.push(bytes.slice(at, end));
    at = end + 1;
  }
  return lines;
}
