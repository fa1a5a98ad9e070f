/** Keeps the wall clock set: asks as {@link SntpState} says, over ECMA-419 UDP, and judges with `judgeReply`. */
import type { Cancel, Clock, Log, Network, Random, Scheduler } from "../../sdk/platform.js";
import type { UdpConstructor, UdpSocket } from "../io/ecma419.js";
import type { NameResolver } from "../io/name-resolver.js";
import { encodeRequest, judgeReply, NONCE_SIZE, SNTP_PORT, type Verdict } from "./sntp-packet.js";
import { SntpState, type SntpStep } from "./sntp-state.js";

const REPLY_LIMIT_MS = 3_000;
/** `RATE`'s own pace even where a round is hurried. */
const ROUND_FLOOR_MS = 2_000;

export interface SntpParts {
  UDP: UdpConstructor;
  resolver: NameResolver;
  clock: Clock;
  scheduler: Scheduler;
  random: Random;
  log: Log;
  /** While it is down nothing is asked. Left out where the machine cannot tell. */
  network?: Network;
  /** A time known to have passed, milliseconds since the Unix epoch, that owes nothing to the wall clock. */
  floorMs: () => number;
  /** Takes an agreed time: wall time when the monotonic clock was 0. */
  setWallStart: (wallStartMs: number) => void;
}

export class SntpClient {
  /** Called each time the clock has been set. */
  onSet: () => void = () => undefined;
  readonly #parts: SntpParts;
  readonly #state: SntpState;
  #stage: "off" | "waiting" | "asking" | "resting" = "off";
  #wasSet = false;
  /** When a request last left, monotonic. */
  #askedAtMs = -Infinity;
  #cancelNetwork: Cancel | undefined;
  /** Ends what is under way: a lookup, an exchange, a rest. */
  #cancel: Cancel = () => undefined;

  /** @param servers names or addresses; with two or more, two must agree. `name:port` for another port than 123 */
  constructor(parts: SntpParts, servers: readonly string[], state = new SntpState(servers, () => parts.random.fraction())) {
    this.#parts = parts;
    this.#state = state;
  }

  /** Asks as soon as there is a network, and again when due, until {@link stop}. */
  start(): void {
    if (this.#stage !== "off") return;
    const { network } = this.#parts;
    this.#cancelNetwork = network?.onChange(() => (network.isUp ? this.networkUp() : this.#networkDown()));
    this.#begin();
  }

  /**
   * The network is (back) up: a request that left before it was is lost, and a long rest is not sat out while the time is still unknown.
   */
  networkUp(): void {
    if (this.#stage === "off") return;
    this.#state.hurry();
    if (this.#stage === "resting" && this.#wasSet) return;
    this.#rest(Math.max(0, this.#askedAtMs + ROUND_FLOOR_MS - this.#parts.clock.monotonicMs()));
  }

  stop(): void {
    this.#stage = "off";
    this.#cancelNetwork?.();
    this.#cancel();
  }

  /** What is under way can lead nowhere: no server is to blame, nothing is counted. */
  #networkDown(): void {
    if (this.#stage === "asking") this.#wait();
  }

  /** Until {@link networkUp}. */
  #wait(): void {
    this.#cancel();
    this.#stage = "waiting";
  }

  #begin(): void {
    if (this.#parts.network?.isUp === false) return this.#wait();
    this.#stage = "asking";
    this.#do(this.#state.begin(this.#parts.clock.monotonicMs()));
  }

  #do(step: SntpStep): void {
    if (step.kind === "ask") return this.#ask(step.server);
    this.#rest(step.delayMs);
    if (step.kind === "rest") return this.#parts.log("warn", "no time from the time servers", { retryMs: step.delayMs });
    this.#wasSet = true;
    this.#parts.setWallStart(step.wallStartMs);
    this.#parts.log("info", "the clock is set", { againMs: step.delayMs });
    this.onSet();
  }

  #rest(delayMs: number): void {
    this.#stage = "resting";
    this.#cancel();
    this.#cancel = this.#parts.scheduler.after(delayMs, () => this.#begin());
  }

  #ask(server: string): void {
    const [host = "", port = ""] = server.split(":");
    this.#cancel = this.#parts.resolver.resolve(host, (address) => {
      if (address === undefined) return this.#answered(server, undefined);
      this.#exchange(server, address, port === "" ? SNTP_PORT : Number(port));
    });
  }

  #exchange(server: string, address: string, port: number): void {
    const { clock, random, scheduler, floorMs } = this.#parts;
    const nonce = random.bytes(NONCE_SIZE);
    const sentAtMs = clock.monotonicMs();
    this.#askedAtMs = sentAtMs;
    let socket: UdpSocket | undefined;
    const cancelLimit = scheduler.after(REPLY_LIMIT_MS, () => finish(undefined));
    const close = (): void => {
      cancelLimit();
      socket?.close();
      socket = undefined;
    };
    const finish = (verdict: Exclude<Verdict, { kind: "stray" }> | undefined): void => {
      close();
      this.#answered(server, verdict);
    };
    const readable = (): void => {
      for (let packet = socket?.read(); packet !== undefined; packet = socket?.read()) {
        if (packet.address !== address || packet.port !== port) continue;
        const verdict = judgeReply(new Uint8Array(packet), { nonce, sentAtMs, receivedAtMs: clock.monotonicMs(), floorMs: floorMs() });
        if (verdict.kind !== "stray") return finish(verdict);
      }
    };
    this.#cancel = close;
    try {
      socket = new this.#parts.UDP({ onReadable: readable });
      socket.write(encodeRequest(nonce), address, port);
    } catch {
      // No interface, no socket or no room: as if nothing had come, but no sooner than the limit, so that no loop forms.
      this.#parts.log("debug", "a time request could not be sent", { server });
    }
  }

  #answered(server: string, verdict: Exclude<Verdict, { kind: "stray" }> | undefined): void {
    if (verdict?.kind !== "time") {
      const why = verdict === undefined ? "no answer" : verdict.kind === "kiss" ? verdict.code : verdict.reason;
      this.#parts.log("debug", "a time server gave no time", { server, why });
    }
    this.#do(this.#state.answered(verdict, this.#parts.clock.monotonicMs()));
  }
}
