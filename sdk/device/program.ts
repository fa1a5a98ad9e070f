/**
 * The face of an application that runs unchanged everywhere: on a board, on Node, on XS on a computer, in virtual time. Everything it reads
 * of the world comes through these parts, so that a test can decide it. Types only.
 */
import type { Cancel, Clock, Log, Random, Scheduler } from "../platform.js";
import type { Device } from "./device.js";

export interface ProgramParts {
  /**
   * Made and started by whoever runs the program; started once the program's synchronous part is over, so that early subscriptions miss
   * nothing.
   */
  readonly device: Device;
  readonly clock: Clock;
  /** Instead of timers of the engine: `scheduler.after(delayMs, run)`. */
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: Log;
  /**
   * Reads a sensor now, in the unit that board and application agree on.
   * @throws HawserError `UNKNOWN_INPUT` in a test that has not set it
   */
  sensor(name: string): number;
  /** Calls `pressed` each time the button is pressed. @returns a function that ends it */
  onButton(name: string, pressed: () => void): Cancel;
}

/**
 * An application: the default export of its file. A rejection of what it returns is a bug of the program, and a test reports it.
 *
 * @example
 * const program: Program = ({ device, scheduler, sensor }) => {
 *   const report = (): void => {
 *     device.publish("up/temperature", JSON.stringify({ celsius: sensor("temperature") }), { qos: 1, queue: true }).catch(() => undefined);
 *     scheduler.after(60_000, report);
 *   };
 *   report();
 * };
 * export default program;
 */
export type Program = (parts: ProgramParts) => unknown;
