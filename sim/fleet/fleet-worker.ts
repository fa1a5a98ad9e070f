/** A process's share of the fleet: starts its devices at a steady rate and reports sums. */
import { setTimeout as delay } from "node:timers/promises";
import { encodeIntoCompressedBase64 } from "hdr-histogram-js";
import { installIdentity, keySlot } from "../../sdk/identity/store.js";
import { FleetStores } from "./fleet-client.js";
import { FleetDevice } from "./fleet-device.js";
import type { FleetMember } from "./fleet-member.js";
import type { WorkerTally } from "./member-tally.js";
import { latencyHistogram } from "./latencies.js";
import { preciseNowMs } from "./payload-source.js";
import type { FleetIdentity, FleetPlan, IssuedDevice, WorkerAnswer, WorkerOrder, WorkerReport } from "./fleet-plan.js";
import { FleetSurroundings } from "./fleet-surroundings.js";
import { ProgramMembers } from "./program-members.js";
import { SeededRandom } from "../virtual/random.js";

const REPORT_EVERY_MS = 1_000;
const RAMP_STEP_MS = 50;
const STOPPED_AT_ONCE = 200;

export class FleetWorker {
  readonly #tally: WorkerTally = {
    accepted: 0,
    refused: 0,
    connections: 0,
    devicesByCredential: {},
    attempts: 0,
    renewed: 0,
    failures: {},
    connecting: latencyHistogram(),
  };
  readonly #tell: (answer: WorkerAnswer) => void;
  readonly #surroundings = new FleetSurroundings();
  /** Devices whose keys were made here, by id. */
  readonly #held = new Map<string, FleetStores>();
  #devices: FleetMember[] = [];
  #programs: ProgramMembers | undefined;
  readonly #seenOnline = new Set<string>();
  #plan: FleetPlan | undefined;
  #reports: NodeJS.Timeout | undefined;
  #ramp: NodeJS.Timeout | undefined;
  #renewals = 0;

  constructor(tell: (answer: WorkerAnswer) => void) {
    this.#tell = tell;
  }

  async obey(order: WorkerOrder): Promise<void> {
    switch (order.kind) {
      case "make-keys":
        return this.#makeKeys(order.ids);
      case "install":
        return this.#install(order.devices);
      case "prepare":
        return this.#prepare(order);
      case "start":
        if (order.atMs !== undefined) await delay(order.atMs - preciseNowMs());
        return this.#start();
      case "drain":
        clearInterval(this.#ramp);
        for (const device of this.#devices) device.quiet();
        this.#programs?.settled();
        // What the devices hold is told from now on, without what is only not collected yet.
        globalThis.gc?.();
        return;
      case "renew":
        return this.#renew(order.share);
      case "surroundings":
        Object.assign(this.#surroundings, order.change);
        return;
      case "stop":
        return this.#stop();
    }
  }

  #makeKeys(ids: readonly string[]): void {
    const requests = ids.map((id) => {
      const stores = new FleetStores({ id, records: {}, keys: {} });
      stores.keyStore.generate(keySlot("a"));
      this.#held.set(id, stores);
      return { id, csr: stores.keyStore.csr(keySlot("a"), id) };
    });
    this.#tell({ kind: "requests", requests });
  }

  #install(devices: readonly IssuedDevice[]): void {
    for (const { id, ...issued } of devices) {
      const stores = this.#held.get(id);
      if (stores !== undefined) installIdentity(stores.storage, stores.keyStore, { id, ...issued });
    }
    this.#tell({ kind: "installed" });
  }

  async #prepare({ plan, devices }: Extract<WorkerOrder, { kind: "prepare" }>): Promise<void> {
    this.#plan = plan;
    if (plan.program) this.#programs = await ProgramMembers.load(plan, plan.program, this.#surroundings);
    // Before the devices are made: what they cost is told from here.
    globalThis.gc?.();
    const rssBytes = process.memoryUsage.rss();
    const made = (identity: FleetIdentity): FleetMember =>
      this.#programs?.make(identity, this.#tally) ?? new FleetDevice(plan, identity, this.#tally, this.#surroundings);
    this.#devices = [...devices, ...[...this.#held.values()].map((stores) => stores.kept())].map(made);
    this.#held.clear();
    this.#tell({ kind: "prepared", rssBytes });
  }

  #start(): void {
    const queue = this.#devices[Symbol.iterator]();
    const perMs = (this.#plan?.startPerSecond ?? 100) / 1_000;
    const beganMs = performance.now();
    this.#programs?.startWatching();
    let started = 0;
    this.#ramp = setInterval(() => {
      // By the clock, so that a busy machine makes up for late ticks.
      for (const due = Math.ceil((performance.now() - beganMs) * perMs); started < due; started += 1) {
        const next = queue.next();
        if (next.done === true) return clearInterval(this.#ramp);
        next.value.start();
      }
    }, RAMP_STEP_MS);
    this.#reports = setInterval(() => this.#tell(this.#report()), REPORT_EVERY_MS);
  }

  #renew(share: number): void {
    const random = new SeededRandom(`${this.#plan?.seed ?? ""}/renew/${this.#renewals++}`);
    for (const device of this.#devices) if (random.chance(share)) device.renew();
  }

  async #stop(): Promise<void> {
    clearInterval(this.#ramp);
    clearInterval(this.#reports);
    await this.#programs?.stopWatching();
    const report = this.#report();
    for (let from = 0; from < this.#devices.length; from += STOPPED_AT_ONCE) {
      await Promise.all(
        this.#devices
          .slice(from, from + STOPPED_AT_ONCE)
          .map((device) => Promise.race([device.stop(), delay(5_000, undefined, { ref: false })])),
      );
    }
    this.#tell({
      kind: "stopped",
      accounts: this.#devices.flatMap((device) => (device instanceof FleetDevice ? [device.account()] : [])),
      programs: this.#programs?.accounts() ?? [],
      programReport: this.#programs?.report(),
      kept: this.#devices.map((device) => device.kept()),
      report,
    });
  }

  #report(): WorkerReport {
    const byCredential: Record<string, number> = {};
    let [connected, asleep, waiting, started] = [0, 0, 0, 0];
    const cameOnline: string[] = [];
    for (const device of this.#devices) {
      if (device.isStarted) started += 1;
      if (device.isAsleep) asleep += 1;
      waiting += device.waiting();
      if (device.credential === undefined) continue;
      connected += 1;
      if (!this.#seenOnline.has(device.id)) cameOnline.push(device.id);
      this.#seenOnline.add(device.id);
      byCredential[device.credential] = (byCredential[device.credential] ?? 0) + 1;
    }
    const { user, system } = process.cpuUsage();
    const { connecting, ...sums } = this.#tally;
    return {
      kind: "report",
      devices: this.#devices.length,
      started,
      connected,
      asleep,
      byCredential,
      waiting,
      ...sums,
      failures: { ...sums.failures },
      devicesByCredential: { ...sums.devicesByCredential },
      connecting: encodeIntoCompressedBase64(connecting),
      rssBytes: process.memoryUsage.rss(),
      cpuMicros: user + system,
      cameOnline,
    };
  }
}
