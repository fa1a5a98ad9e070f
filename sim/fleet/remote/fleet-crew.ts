/** Hires machines on NATS for one run, shares out its devices, and is told when one of them is gone. */
import { randomBytes } from "node:crypto";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { FleetLink, type FleetChannel } from "../fleet-link.js";
import type { AnyAnswer } from "../fleet-plan.js";
import type { CrewMember } from "../fleet-run.js";
import { preciseNowMs } from "../payload-source.js";
import { believable } from "./believable.js";
import * as talk from "./crew-talk.js";
import type { FleetBus } from "./fleet-bus.js";
import { WireReceiver, WireSender } from "./fleet-wire.js";

const ASK_MS = 5_000;
/** The exchange that took the shortest time tells the difference of the clocks best. */
const CLOCK_ROUNDS = 8;

export interface HireOptions {
  readonly bus: FleetBus;
  readonly machines: number;
  readonly ids: readonly string[];
  /** How long to wait until so many machines have offered themselves. */
  readonly waitMs: number;
  readonly onOffer?: (offer: talk.Offer) => void;
}

export interface Crew {
  readonly members: readonly CrewMember[];
  /** Lets all machines go. */
  dismiss(): Promise<void>;
}

/** @throws HawserError `FLEET_MACHINES_MISSING`, `NATS_UNREACHABLE` */
export async function hireCrew(options: HireOptions): Promise<Crew> {
  const { bus, ids } = options;
  const run = randomBytes(16).toString("hex");
  const hired: talk.Offer[] = [];
  for (const offer of await offersOf(options)) {
    const reply = talk.heard(await bus.request(talk.machineSubject(offer.machine), talk.said({ do: "hire", run }), ASK_MS));
    if (reply?.["hired"] !== true) throw missing(`${offer.name} was hired by another run meanwhile`, options);
    hired.push(offer);
  }
  const beating = setInterval(() => bus.publish(talk.leaderBeat(run), talk.said({})), talk.BEAT_EVERY_MS);
  const channels: RemoteChannel[] = [];
  const dismiss = async (): Promise<void> => {
    clearInterval(beating);
    for (const channel of channels) channel.close();
    bus.publish(talk.dismissal(run), talk.said({}));
    await bus.flush().catch(() => undefined);
  };
  try {
    const members: CrewMember[] = [];
    for (const [at, share] of shares(ids, hired).entries()) {
      const offer = hired[at];
      if (offer === undefined) continue;
      const clockAheadMs = await clockAhead(bus, offer.machine);
      for (let slot = 0; slot < offer.slots; slot++) {
        const ours = share.filter((_, n) => n % offer.slots === slot);
        if (ours.length === 0) continue;
        const channel = new RemoteChannel(bus, run, offer.machine, slot, ours);
        channels.push(channel);
        members.push({ link: new FleetLink(channel), name: `${slot} on ${offer.name} (${offer.machine})`, ids: ours, clockAheadMs });
      }
    }
    return { members, dismiss };
  } catch (error) {
    await dismiss();
    throw error;
  }
}

/** As many machines as are wanted, with room for all devices. */
async function offersOf(options: HireOptions): Promise<talk.Offer[]> {
  const { bus, machines, ids, waitMs, onOffer } = options;
  const offers = new Map<string, talk.Offer>();
  const room = (): number => [...offers.values()].reduce((sum, { devicesAtMost }) => sum + devicesAtMost, 0);
  const found = new Promise<boolean>((resolve) => {
    const late = setTimeout(() => resolve(false), waitMs);
    const unsubscribe = bus.subscribe(talk.OFFERS, (data) => {
      const offer = readNew(data, offers);
      if (offer === undefined || offers.size >= machines) return;
      offers.set(offer.machine, offer);
      onOffer?.(offer);
      if (offers.size < machines) return;
      clearTimeout(late);
      unsubscribe();
      resolve(true);
    });
  });
  const names = (): string => [...offers.values()].map(({ name, devicesAtMost }) => `${name} (${devicesAtMost} devices)`).join(", ");
  if (!(await found))
    throw missing(`${offers.size} of ${machines} machines offered themselves${offers.size === 0 ? "" : `: ${names()}`}`, options);
  if (room() < ids.length) throw missing(`${names()} take ${room()} devices, and there are ${ids.length}`, options);
  return [...offers.values()].sort((a, b) => (a.machine < b.machine ? -1 : 1));
}

function readNew(data: Uint8Array, offers: ReadonlyMap<string, talk.Offer>): talk.Offer | undefined {
  const offer = talk.readOffer(data);
  return offer === undefined || offers.has(offer.machine) ? undefined : offer;
}

/** Evenly, as far as each machine takes them. */
export function shares(ids: readonly string[], machines: readonly Pick<talk.Offer, "devicesAtMost">[]): string[][] {
  const sizes = machines.map(() => 0);
  for (let left = ids.length; left > 0;) {
    const open = machines.flatMap(({ devicesAtMost }, at) => ((sizes[at] ?? 0) < devicesAtMost ? [at] : []));
    const each = Math.max(1, Math.floor(left / open.length));
    for (const at of open) {
      const more = Math.min(each, left, (machines[at]?.devicesAtMost ?? 0) - (sizes[at] ?? 0));
      sizes[at] = (sizes[at] ?? 0) + more;
      left -= more;
    }
  }
  let from = 0;
  return sizes.map((size) => ids.slice(from, (from += size)));
}

/** How far the machine's clock is ahead of this one's, milliseconds: to half the shortest round trip. */
async function clockAhead(bus: FleetBus, machine: string): Promise<number> {
  let best = { tookMs: Infinity, aheadMs: 0 };
  for (let round = 0; round < CLOCK_ROUNDS; round++) {
    const sentMs = preciseNowMs();
    const nowMs = talk.heard(await bus.request(talk.machineSubject(machine), talk.said({ do: "time" }), ASK_MS))?.["nowMs"];
    const tookMs = preciseNowMs() - sentMs;
    if (typeof nowMs === "number" && tookMs < best.tookMs) best = { tookMs, aheadMs: nowMs - sentMs - tookMs / 2 };
  }
  return best.aheadMs;
}

/** A slot of a hired machine. */
class RemoteChannel implements FleetChannel {
  readonly ended: Promise<string>;
  readonly #sender: WireSender;
  readonly #endings: (() => void)[] = [];
  readonly #watching: NodeJS.Timeout;
  #end: (how: string) => void = () => undefined;
  #heardMs = performance.now();
  #heard: (answer: AnyAnswer) => void = () => undefined;

  constructor(bus: FleetBus, run: string, machine: string, slot: number, ids: readonly string[]) {
    const own = new Set(ids);
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#sender = new WireSender((piece) => bus.publish(talk.slotOrders(run, machine, slot), piece));
    const receiver = new WireReceiver((what) => {
      const { answer, ended } = what as { answer?: unknown; ended?: unknown };
      if (typeof ended === "string") this.#over(`it ended (${ended.slice(0, 200)})`);
      else this.#heard(believable(answer, own));
    });
    this.#endings.push(
      bus.subscribe(talk.slotAnswers(run, machine, slot), (piece) => {
        try {
          receiver.take(piece);
        } catch (error) {
          this.#over(errorMessage(error));
        }
      }),
      bus.subscribe(talk.machineBeat(run, machine), () => (this.#heardMs = performance.now())),
    );
    this.#watching = setInterval(() => {
      if (performance.now() - this.#heardMs > talk.GONE_MS) this.#over(`no sign of its machine for ${talk.GONE_MS / 1000} s`);
    }, talk.BEAT_EVERY_MS);
    void bus.closed.then((why) => this.#over(`the connection to NATS is over: ${why}`));
  }

  send(order: Parameters<FleetChannel["send"]>[0]): void {
    this.#sender.send(order);
  }

  listen(heard: (answer: AnyAnswer) => void): void {
    this.#heard = heard;
  }

  /** Its machine ends it when it is dismissed. */
  kill(): void {
    this.close();
  }

  close(): void {
    clearInterval(this.#watching);
    for (const ending of this.#endings.splice(0)) ending();
  }

  #over(how: string): void {
    this.close();
    this.#end(how);
  }
}

function missing(what: string, { machines }: HireOptions): HawserError {
  return new HawserError(
    "FLEET_MACHINES_MISSING",
    `a fleet on ${machines} machines cannot start: ${what}`,
    "Start `hawser sim fleet-worker` on each, with room for its share (--devices-at-most), and give --machines-wait more time.",
  );
}
