/** A device that runs a product's own program and keeps the account of what the program gave it and took from it. Runs on any engine. */
import { Device, type DeviceConfig, type DeviceTopic } from "../../sdk/device/device.js";
import type { Program, ProgramParts } from "../../sdk/device/program.js";
import { errorCode } from "../../sdk/errors.js";
import { RefusedError } from "../../sdk/mqtt/contract/connect-error.js";
import type { Message, Subscription } from "../../sdk/mqtt/contract/incoming-messages.js";
import type { PublishOptions, PublishResult, SubscribeOptions } from "../../sdk/mqtt/contract/options.js";
import type { Cancel, Platform, Scheduler } from "../../sdk/platform.js";
import { ProgramInputs } from "./program-inputs.js";

/** What a program did, told to whoever runs it. */
export interface ProgramWitness {
  /** The program called `publish`; told before anything else is done with it. */
  publishing(topic: string, payload: Uint8Array | string, qos: number): void;
  /** The device has the message in its keeping. */
  accepted(topic: string, payload: Uint8Array | string, qos: number): void;
  /** The device did not take it, or the broker refused it. */
  refused(topic: string, code: string): void;
  /** An accepted message was given up later: the broker refused it. The application sees it as an event. */
  gaveUp(topic: string, code: string): void;
  subscribed(filter: string): void;
  /** The program took a message from a subscription. */
  took(topic: string, payload: Uint8Array): void;
  threw(error: unknown): void;
  /** Runs a callback of the program, for instance in a context that names its device. */
  within<Result>(run: () => Result): Result;
}

/** Outcomes that say nothing against the program: there was no connection, or the run is over. */
const NO_FAULT = new Set(["NOT_CONNECTED", "STOPPED", "ABORTED", "CLOSED_LOCALLY"]);

export class ProgramDevice extends Device {
  readonly inputs = new ProgramInputs();
  readonly #timers = new Set<Cancel>();
  /** Publishes that the broker refused, by topic. */
  readonly #rejected = new Map<string, number>();
  #isQuiet = false;

  constructor(
    config: DeviceConfig,
    private readonly ports: Platform,
    private readonly witness: ProgramWitness,
  ) {
    super(config, ports);
    this.listen((event) => {
      if (event.type !== "message-dropped" && event.type !== "message-uncertain") return;
      const { topic, code } = event;
      // A message whose promise is awaited is told there too, before this runs.
      ports.scheduler.after(0, () => {
        const told = this.#rejected.get(topic) ?? 0;
        if (told > 0) this.#rejected.set(topic, told - 1);
        else witness.gaveUp(topic, code);
      });
    });
  }

  /** Runs the program's synchronous part, then starts the device, as on a board. */
  boot(program: Program): void {
    void this.witness.within(() => this.#run(program));
    this.start();
  }

  /** The program's timers are over, and nothing that it still publishes is sent: the run settles what was accepted. */
  quiet(): void {
    this.#isQuiet = true;
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }

  press(button: string): void {
    if (!this.#isQuiet) this.#guarded(() => void this.inputs.press(button));
  }

  override async publish(topic: DeviceTopic, payload: Uint8Array | string, options?: PublishOptions): Promise<PublishResult> {
    if (this.#isQuiet) return new Promise(() => undefined);
    const qos = options?.qos ?? 0;
    const name = this.topic(topic);
    this.witness.publishing(name, payload, qos);
    try {
      const result = await super.publish(topic, payload, options);
      this.witness.accepted(name, payload, qos);
      return result;
    } catch (error) {
      const code = errorCode(error);
      if (!NO_FAULT.has(code)) this.witness.refused(name, code);
      if (error instanceof RefusedError) this.#rejected.set(name, (this.#rejected.get(name) ?? 0) + 1);
      throw error;
    }
  }

  override subscribe(filter: DeviceTopic, options?: SubscribeOptions): Subscription {
    const subscription = super.subscribe(filter, options);
    this.witness.subscribed(this.topic(filter));
    const next = subscription.next.bind(subscription);
    subscription.next = async (): Promise<IteratorResult<Message, undefined>> => {
      const result = await next();
      if (result.done !== true) this.witness.took(result.value.topic, result.value.payload);
      return result;
    };
    return subscription;
  }

  async #run(program: Program): Promise<void> {
    const { clock, random, log } = this.ports;
    const { sensor, onButton } = this.inputs;
    const parts: ProgramParts = { device: this, clock, scheduler: this.#scheduler, random, log, sensor, onButton };
    try {
      await program(parts);
    } catch (error) {
      this.witness.threw(error);
    }
  }

  readonly #scheduler: Scheduler = {
    after: (delayMs, run) => {
      if (this.#isQuiet) return () => undefined;
      const forget: Cancel = this.ports.scheduler.after(delayMs, () => {
        this.#timers.delete(cancel);
        this.#guarded(run);
      });
      const cancel = (): void => {
        this.#timers.delete(cancel);
        forget();
      };
      this.#timers.add(cancel);
      return cancel;
    },
  };

  /** A callback that throws would end the process, and every other device of it with it. */
  #guarded(run: () => void): void {
    try {
      this.witness.within(run);
    } catch (error) {
      this.witness.threw(error);
    }
  }
}
