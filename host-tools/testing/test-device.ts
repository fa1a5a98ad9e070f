/** A device under test: the SDK's own, which remembers its events, and the program that runs on it. */
import { Device, type DeviceConfig } from "../../sdk/device/device.js";
import type { Program, ProgramParts } from "../../sdk/device/program.js";
import { describeEvent } from "../../sim/virtual/world/event-text.js";
import type { DeviceEvent } from "../../sdk/events.js";
import type { Platform } from "../../sdk/platform.js";
import { ProgramInputs, type SensorSource } from "../../sim/program/program-inputs.js";
import { lastOf, type TestPlace, type WaitOptions } from "./test-place.js";

export interface ProgramOptions {
  /** Default: `device-1`, `device-2`... */
  id?: string;
  /** Default `sensor`. */
  role?: string;
  /** Beside the endpoints. Tests get short retries and little patience unless this says otherwise. */
  config?: Partial<DeviceConfig>;
  /** The application under test, with `sensors` to read. */
  program?: Program;
  sensors?: Readonly<Record<string, SensorSource>>;
  /** False: the test calls `start()` itself. */
  start?: boolean;
  /** Keeps the TLS session when the device leaves, and resumes it in the next waking or after a reboot. Default false. */
  keepSessions?: boolean;
}

/** How the place makes the device again after a reboot. */
export type Reboot = (device: TestDevice) => Promise<TestDevice>;

export class TestDevice extends Device {
  /** Every event so far. */
  readonly history: DeviceEvent[] = [];
  /** What the program threw, or rejected with. */
  readonly programErrors: unknown[] = [];
  readonly inputs: ProgramInputs;
  readonly place: TestPlace;
  readonly #reboot: Reboot;

  constructor(
    config: DeviceConfig,
    readonly testPlatform: Platform,
    place: TestPlace,
    readonly options: ProgramOptions,
    reboot: Reboot,
  ) {
    super(config, testPlatform);
    this.place = place;
    this.#reboot = reboot;
    this.inputs = new ProgramInputs(options.sensors);
    this.listen((event) => void this.history.push(event));
  }

  /** Runs the program's synchronous part, then starts the device, as on a board. */
  boot(): void {
    const { program, start = true } = this.options;
    if (program) void this.#run(program);
    if (start) this.start();
  }

  async #run(program: Program): Promise<void> {
    const { clock, scheduler, random, log } = this.testPlatform;
    const { sensor, onButton } = this.inputs;
    const parts: ProgramParts = { device: this, clock, scheduler, random, log, sensor, onButton };
    try {
      await program(parts);
    } catch (error) {
      this.programErrors.push(error);
    }
  }

  /** From now on the sensor reads this. */
  setSensor(name: string, source: SensorSource): void {
    this.inputs.set(name, source);
  }

  /** @returns how many listeners of the program heard it */
  press(button: string): number {
    return this.inputs.press(button);
  }

  /** The first event of this type, past or to come, that also passes `fits`. @throws HawserError `NOT_SEEN` */
  reported<Type extends DeviceEvent["type"]>(
    type: Type,
    fits: (event: Extract<DeviceEvent, { type: Type }>) => boolean = () => true,
    options?: WaitOptions,
  ): Promise<Extract<DeviceEvent, { type: Type }>> {
    type Wanted = Extract<DeviceEvent, { type: Type }>;
    const isWanted = (event: DeviceEvent): event is Wanted => event.type === type && fits(event as Wanted);
    return this.place.until(`the event "${type}" of ${this.id}`, () => this.history.find(isWanted), options);
  }

  /**
   * The same hardware, booted again: records and keys stay. In virtual time the power is cut without warning; in real time the device stops
   * in an orderly way first.
   * This object is over then.
   */
  reboot(): Promise<TestDevice> {
    return this.#reboot(this);
  }

  /** The last events, for a report. */
  get story(): string {
    return lastOf(this.history.map(describeEvent));
  }
}
