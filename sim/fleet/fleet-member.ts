/** One device of a fleet, whatever it runs: the fleet's own publishing, or a product's program. */
import type { FleetIdentity } from "./fleet-plan.js";

export interface FleetMember {
  readonly id: string;
  /** What it is connected by, if it is. */
  readonly credential: string | undefined;
  readonly isAsleep: boolean;
  readonly isStarted: boolean;
  start(): void;
  /** Publishes no more, and delivers what waits. */
  quiet(): void;
  renew(): void;
  /** Accepted and not delivered. */
  waiting(): number;
  stop(): Promise<void>;
  kept(): FleetIdentity;
}
