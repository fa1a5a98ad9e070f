/**
 * A machine that lends its processes to fleets on NATS, one after the other. It makes its devices' keys itself and says none of them,
 * connects to the one broker that its user named, runs no program that came over NATS, and lets go when whoever hired it is gone.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { checkId } from "../../../sdk/identity/device-id.js";
import type { Endpoint } from "../../../sdk/platform.js";
import { errorMessage } from "../../../sdk/errors.js";
import { FleetLink, localChannel } from "../fleet-link.js";
import type { AnyAnswer, FleetPlan, WorkerOrder } from "../fleet-plan.js";
import { preciseNowMs } from "../payload-source.js";
import * as talk from "./crew-talk.js";
import type { FleetBus } from "./fleet-bus.js";
import { WireReceiver, WireSender } from "./fleet-wire.js";

export interface MachineOptions {
  readonly bus: FleetBus;
  /** The only one that its devices connect to, whatever a plan says. */
  readonly broker: Endpoint;
  readonly devicesAtMost: number;
  readonly slots: number;
  /** The built `fleet-process.js`. */
  readonly program: string;
  readonly onEvent: (event: MachineEvent) => void;
}

export type MachineEvent =
  | { readonly type: "hired"; readonly run: string }
  /** `why` is for people. */
  | { readonly type: "let-go"; readonly run: string; readonly why: string; readonly devices: number }
  | { readonly type: "refused"; readonly run: string; readonly why: string };

export class FleetMachine {
  readonly machine = randomBytes(8).toString("hex");
  readonly name =
    hostname()
      .replace(/[^A-Za-z0-9_-]/g, "-")
      .slice(0, 64) || "machine";
  readonly #offers: NodeJS.Timeout;
  readonly #unsubscribe: () => void;
  #job: Job | undefined;

  constructor(private readonly options: MachineOptions) {
    const { bus } = options;
    this.#unsubscribe = bus.subscribe(talk.machineSubject(this.machine), (data, respond) => this.#asked(data, respond));
    this.#offers = setInterval(() => this.#offer(), talk.BEAT_EVERY_MS);
    this.#offer();
  }

  close(): void {
    clearInterval(this.#offers);
    this.#unsubscribe();
    this.#job?.end("this machine stops");
  }

  #offer(): void {
    if (this.#job !== undefined) return;
    const { devicesAtMost, slots, bus } = this.options;
    const offer: talk.Offer = { v: 1, machine: this.machine, name: this.name, devicesAtMost, slots };
    bus.publish(talk.OFFERS, talk.said(offer));
  }

  #asked(data: Uint8Array, respond: (data: Uint8Array) => void): void {
    const { do: what, run } = talk.heard(data) ?? {};
    if (what === "time") return respond(talk.said({ nowMs: preciseNowMs() } satisfies talk.MachineReply));
    if (what !== "hire" || !talk.isToken(run)) return;
    const isFree = this.#job === undefined;
    if (isFree) {
      this.#job = new Job(run, this.machine, this.options, () => (this.#job = undefined));
      this.options.onEvent({ type: "hired", run });
    }
    respond(talk.said({ hired: isFree } satisfies talk.MachineReply));
  }
}

/** One run's use of this machine. */
class Job {
  readonly #slots: Slot[] = [];
  readonly #endings: (() => void)[] = [];
  readonly #beating: NodeJS.Timeout;
  #leaderMs = performance.now();
  #isOver = false;
  #devices = 0;

  constructor(
    private readonly run: string,
    machine: string,
    private readonly options: MachineOptions,
    private readonly over: () => void,
  ) {
    const { bus, slots } = options;
    for (let slot = 0; slot < slots; slot++) {
      const answers = talk.slotAnswers(run, machine, slot);
      const made = new Slot(new WireSender((piece) => bus.publish(answers, piece)), (order) => this.#refusal(order), options.program);
      this.#slots.push(made);
      this.#endings.push(bus.subscribe(talk.slotOrders(run, machine, slot), (piece) => this.#ordered(made, piece)));
    }
    this.#endings.push(bus.subscribe(talk.leaderBeat(run), () => (this.#leaderMs = performance.now())));
    this.#endings.push(bus.subscribe(talk.dismissal(run), () => this.end("the run is over")));
    this.#beating = setInterval(() => {
      bus.publish(talk.machineBeat(run, machine), talk.said({}));
      if (performance.now() - this.#leaderMs > talk.GONE_MS) this.end("whoever hired it is gone");
    }, talk.BEAT_EVERY_MS);
  }

  end(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#beating);
    for (const ending of this.#endings) ending();
    for (const slot of this.#slots) slot.kill();
    this.options.onEvent({ type: "let-go", run: this.run, why, devices: this.#devices });
    this.over();
  }

  #ordered(slot: Slot, piece: Uint8Array): void {
    try {
      slot.take(piece);
    } catch (error) {
      this.end(errorMessage(error));
    }
  }

  /** Why an order is not obeyed, if it is not. */
  #refusal(order: WorkerOrder): string | undefined {
    const why = this.#wrongOrder(order);
    if (why !== undefined) this.options.onEvent({ type: "refused", run: this.run, why });
    return why;
  }

  #wrongOrder(order: WorkerOrder): string | undefined {
    switch (order.kind) {
      case "make-keys":
        for (const id of order.ids) checkId(id);
        this.#devices += order.ids.length;
        return this.#devices > this.options.devicesAtMost ? `it takes ${this.options.devicesAtMost} devices at most` : undefined;
      case "prepare":
        return this.#wrongPlan(order.plan, order.devices.length);
      case "install":
      case "start":
      case "drain":
      case "renew":
      case "surroundings":
      case "stop":
        return undefined;
      default:
        return "it knows no such order";
    }
  }

  #wrongPlan({ broker, recovery, program }: FleetPlan, devices: number): string | undefined {
    const { host, port } = this.options.broker;
    if (broker.host !== host || broker.port !== port) return `it connects to ${host}:${port} alone, not to ${broker.host}:${broker.port}`;
    if (recovery !== undefined) return "it has no pre-shared keys";
    if (program !== undefined) return "it runs no program that comes over NATS";
    return devices > 0 ? "it takes no keys over NATS" : undefined;
  }
}

/** One process, started when it is first ordered something. */
class Slot {
  readonly #receiver = new WireReceiver((order) => this.#obey(order as WorkerOrder));
  #link: FleetLink | undefined;

  constructor(
    private readonly sender: WireSender,
    private readonly refusal: (order: WorkerOrder) => string | undefined,
    private readonly program: string,
  ) {}

  take(piece: Uint8Array): void {
    this.#receiver.take(piece);
  }

  kill(): void {
    this.#link?.kill();
  }

  #obey(order: WorkerOrder): void {
    const why = this.refusal(order);
    if (why !== undefined) return this.#say({ answer: { kind: "failed", message: why } });
    this.#link ??= this.#started();
    this.#link.tell(order);
  }

  #started(): FleetLink {
    const link = new FleetLink(localChannel(this.program, "process"));
    link.listen((answer) => this.#say({ answer: withoutKeys(answer) }));
    void link.ended.then((how) => this.#say({ ended: how }));
    return link;
  }

  #say(what: talk.SlotSays): void {
    this.sender.send(what);
  }
}

/** Keys were made here, and stay here. */
function withoutKeys(answer: AnyAnswer): AnyAnswer {
  return answer.kind === "stopped" ? { ...answer, kept: [] } : answer;
}
