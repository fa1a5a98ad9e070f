/** What a program reads of the world, decided by whoever runs it: sensors and buttons. Runs on any engine. */
import { HawserError } from "../../sdk/errors.js";
import type { Cancel } from "../../sdk/platform.js";

/** A sensor: a reading, or something that is asked for one each time. */
export type SensorSource = number | (() => number);

export class ProgramInputs {
  readonly #sensors = new Map<string, SensorSource>();
  readonly #buttons = new Map<string, Set<() => void>>();

  constructor(sensors: Readonly<Record<string, SensorSource>> = {}) {
    for (const [name, source] of Object.entries(sensors)) this.set(name, source);
  }

  /** From now on the sensor reads this. */
  set(name: string, source: SensorSource): void {
    this.#sensors.set(name, source);
  }

  /** @returns how many listeners of the program heard it: 0 says that nothing listens to this button */
  press(name: string): number {
    const heard = [...(this.#buttons.get(name) ?? [])];
    for (const pressed of heard) pressed();
    return heard.length;
  }

  readonly sensor = (name: string): number => {
    const source = this.#sensors.get(name);
    if (source === undefined) {
      const known = [...this.#sensors.keys()].join(", ");
      throw new HawserError(
        "UNKNOWN_INPUT",
        `the program reads the sensor ${JSON.stringify(name)}, which has no value`,
        `Set one before the program starts.${known === "" ? "" : ` Sensors with a value: ${known}.`}`,
      );
    }
    return typeof source === "number" ? source : source();
  };

  readonly onButton = (name: string, pressed: () => void): Cancel => {
    const listeners = this.#buttons.get(name) ?? new Set();
    this.#buttons.set(name, listeners.add(pressed));
    return () => void listeners.delete(pressed);
  };
}
