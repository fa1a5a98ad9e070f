/** Which faults strike when: drawn from the seed, then played. */
import type { SeededRandom } from "../random.js";
import type { VirtualTime } from "../time/virtual-time.js";
import type { Chronicle } from "../world/chronicle.js";
import type { VirtualDevice } from "../world/virtual-device.js";
import { ATTACK_FAULTS } from "./attack-faults.js";
import { BROKER_FAULTS } from "./broker-faults.js";
import { DEVICE_FAULTS } from "./device-faults.js";
import type { FaultKind, FaultSite } from "./fault-kind.js";
import { IDENTITY_FAULTS } from "./identity-faults.js";
import { NETWORK_FAULTS } from "./network-faults.js";

export const FAULT_KINDS: readonly FaultKind[] = [
  ...NETWORK_FAULTS,
  ...BROKER_FAULTS,
  ...IDENTITY_FAULTS,
  ...DEVICE_FAULTS,
  ...ATTACK_FAULTS,
];

/** Between the beginnings of two faults of one device on average, milliseconds. */
const FAULT_EVERY_MS = 40 * 60_000;

export interface FaultPlanParts {
  time: VirtualTime;
  random: SeededRandom;
  chronicle: Chronicle;
  devices: readonly VirtualDevice[];
  kinds: readonly FaultKind[];
  /** No fault begins or lasts after this, milliseconds of world time. */
  untilMs: number;
  site: Omit<FaultSite, "device" | "devices" | "random">;
}

export class FaultPlan {
  /** How often each kind struck. */
  readonly struck = new Map<string, number>();
  readonly #busy = new Set<string>();
  #tails: (() => void)[] = [];

  constructor(private readonly parts: FaultPlanParts) {}

  start(): void {
    if (this.parts.kinds.length === 0) return;
    for (const device of this.parts.devices) this.#plan(device, this.parts.random.fork(device.id));
  }

  /** Ends what faults left behind when they were over. */
  endTails(): void {
    for (const end of this.#tails.splice(0)) end();
  }

  #plan(device: VirtualDevice, random: SeededRandom): void {
    const { time, untilMs } = this.parts;
    const atMs = time.nowMs + random.between(1_000, 2 * FAULT_EVERY_MS);
    if (atMs >= untilMs) return;
    time.at(atMs, () => {
      this.#strike(device, random);
      this.#plan(device, random);
    });
  }

  #strike(device: VirtualDevice, random: SeededRandom): void {
    const { kinds, site, time, untilMs, chronicle } = this.parts;
    const kind = random.pick(kinds);
    const lastsMs = Math.min(random.between(...kind.lasts), untilMs - time.nowMs);
    const here: FaultSite = { ...site, device, devices: this.parts.devices, random };
    const changes = `${kind.scope === "device" ? device.id : "everybody"} ${kind.changes ?? kind.name}`;
    if (this.#busy.has(changes) || !device.on || kind.fits?.(here) === false) return;
    this.#busy.add(changes);
    this.endTails();
    const concerned = kind.scope === "device" ? [device] : this.parts.devices;
    const who = kind.scope === "device" ? device.id : "everybody";
    this.struck.set(kind.name, (this.struck.get(kind.name) ?? 0) + 1);
    chronicle.note(who, `FAULT ${kind.name}${lastsMs > 0 ? ` for ${lastsMs} ms` : ""}`);
    for (const one of concerned) one.recovery.faultBegins();
    const end = kind.begin(here);
    const over = (): void => {
      // The end of some does the harm.
      this.endTails();
      const tail = end?.();
      if (kind.leavesTail) this.#tails.push(tail as () => void);
      this.#busy.delete(changes);
      if (lastsMs > 0) chronicle.note(who, `fault ${kind.name} is over`);
      for (const one of concerned) one.recovery.faultEnds(kind.name);
    };
    if (lastsMs === 0) over();
    else time.after(lastsMs, over);
  }
}
