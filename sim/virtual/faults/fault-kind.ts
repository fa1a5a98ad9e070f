/** What a fault is: something that begins, may last, and ends. */
import type { VirtualBroker } from "../broker/virtual-broker.js";
import type { BrokerAccess } from "../broker/access.js";
import type { VirtualAuthority } from "../pki/virtual-authority.js";
import type { SeededRandom } from "../random.js";
import type { VirtualDevice } from "../world/virtual-device.js";

/** Where a fault strikes. */
export interface FaultSite {
  random: SeededRandom;
  device: VirtualDevice;
  /** All of the world. */
  devices: readonly VirtualDevice[];
  broker: VirtualBroker;
  access: BrokerAccess;
  authority: VirtualAuthority;
}

export interface FaultKind {
  name: string;
  /** Whom it concerns. */
  scope: "device" | "everybody";
  /** Two faults that change the same thing never overlap: one would end the other. Default: its own name. */
  changes?: string;
  /** What ends it returns what ends the rest: at the next beginning or end of a fault. */
  leavesTail?: boolean;
  /** Possible durations, milliseconds; 0 for what is over at once. */
  lasts: readonly [shortestMs: number, longestMs: number];
  /**
   * False where it would be no fault, or beyond what the SDK promises: a device without a second credential whose only one is taken, say.
   */
  fits?(site: FaultSite): boolean;
  /**
   * @returns what ends it. What that returns in turn ends what is left behind: devices have to be back in spite of it, but the next fault
   *   finds it gone
   */
  begin(site: FaultSite): (() => unknown) | undefined;
}

export const MOMENT = [0, 0] as const;
export const SECONDS = [2_000, 90_000] as const;
export const MINUTES = [60_000, 1_200_000] as const;
export const HOURS = [1_200_000, 10_800_000] as const;
