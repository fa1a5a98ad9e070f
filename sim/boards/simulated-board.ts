/**
 * A board for factory stations: the device's own provisioning agent on a serial line of a certain speed, over keys and records that outlive
 * its power-ons. Once it has an identity it does what firmware does: it connects by mutual TLS and publishes.
 */
import { Device } from "../../sdk/device/device.js";
import type { Endpoint, Storage } from "../../sdk/platform.js";
import { isProvisioned, ProvisioningAgent } from "../../sdk/provisioning/agent.js";
import { encodeFrame, FrameDecoder } from "../../sdk/provisioning/frames.js";
import { memoryKeyStore, memoryStorage } from "../node/memory-stores.js";
import type { MemoryKeyStore } from "../node/memory-stores.js";
import { nodePlatform } from "../node/node-platform.js";
import type { BoardFault } from "./board-faults.js";
import type { PseudoTerminal } from "./pseudo-terminal.js";

export interface SimulatedBoardOptions {
  /** 12 hexadecimal digits. */
  readonly mac: string;
  readonly firmware: string;
  readonly fault?: BoardFault;
  /** Numbers from 0 up to 1. */
  readonly number: () => number;
  /** Where the board connects; absent: it does not. */
  readonly broker?: Endpoint;
  /** Bits a second; default 115,200. Bytes take as long as they would on a wire. */
  readonly baud?: number;
  /** The flash of another board, for a clone. */
  readonly flashOf?: SimulatedBoard;
}

const BOOT_LOG = Buffer.from(
  "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nentry 0x400805e4\r\n",
);
const SLOW_BAUD = 9_600;
const BITS_A_BYTE = 10;
/** A provisioning takes about 22 frames to the board. */
const FRAMES_OF_A_RUN = 20;
const LATE_MS = 1_500;

export class SimulatedBoard {
  readonly mac: string;
  readonly fault: BoardFault | undefined;
  readonly keyStore: MemoryKeyStore;
  readonly storage: Storage;
  /** Bytes that passed the line since the board was made. */
  readonly lineBytes = { toBoard: 0, toStation: 0 };
  /** Has the jig pull the cable. */
  onPull: () => void = () => undefined;
  readonly #options: SimulatedBoardOptions;
  readonly #faultFrame: number;
  #frames = 0;
  #powerOns = 0;
  #agent: ProvisioningAgent | undefined;
  #line: PseudoTerminal | undefined;
  #device: Device | undefined;
  readonly #busyUntilMs = { toBoard: 0, toStation: 0 };

  constructor(options: SimulatedBoardOptions) {
    const { mac, fault, number, flashOf } = options;
    this.#options = options;
    this.mac = mac;
    this.fault = fault;
    this.keyStore = flashOf?.keyStore ?? memoryKeyStore();
    this.storage = flashOf?.storage ?? memoryStorage();
    this.#faultFrame = 1 + Math.floor(number() * FRAMES_OF_A_RUN);
  }

  /** Puts the board onto a line and switches it on. */
  plugIn(line: PseudoTerminal): void {
    this.#line = line;
    this.#busyUntilMs.toBoard = this.#busyUntilMs.toStation = 0;
    const frames = new FrameDecoder();
    line.onData = (bytes) => {
      const powerOn = this.#powerOns;
      this.#paced("toBoard", bytes.length, () => {
        if (powerOn !== this.#powerOns) return;
        for (const frame of frames.feed(bytes)) if ("payload" in frame) this.#receive(frame.payload);
      });
    };
    this.#powerOn();
  }

  /** Power and line are gone. */
  async unplug(): Promise<void> {
    this.#powerOns += 1;
    const [line, device] = [this.#line, this.#device];
    this.#line = this.#agent = this.#device = undefined;
    await Promise.all([line?.cut(), device?.stop()]);
  }

  #powerOn(): void {
    const powerOn = ++this.#powerOns;
    const { storage, keyStore } = this;
    const { mac, firmware, number } = this.#options;
    const board = { mac, firmware };
    const boot = (): void => {
      if (powerOn !== this.#powerOns) return;
      this.#send(BOOT_LOG, powerOn);
      if (this.fault === "noise") this.#send(noise(number), powerOn);
      this.#agent = new ProvisioningAgent({
        storage,
        keyStore,
        board,
        write: (bytes) => this.#send(bytes, powerOn),
        knownTimeMs: () => 0,
        onDone: () => this.#runApplication(),
      });
      if (isProvisioned(storage)) this.#runApplication();
    };
    if (this.fault === "late") setTimeout(boot, LATE_MS).unref();
    else boot();
  }

  #receive(payload: Uint8Array): void {
    this.#frames += 1;
    if (this.#frames === this.#faultFrame && this.fault === "pull") return this.onPull();
    if (this.#frames === this.#faultFrame && this.fault === "reset") {
      this.#agent = undefined;
      return this.#powerOn();
    }
    if (this.fault === "loss" && this.#options.number() < 0.1) return;
    this.#agent?.receive(encodeFrame(payload));
  }

  #send(bytes: Uint8Array, powerOn: number): void {
    const stray = this.fault === "noise" && this.#options.number() < 0.3 ? noise(this.#options.number) : new Uint8Array(0);
    this.#paced("toStation", stray.length + bytes.length, () => {
      if (powerOn !== this.#powerOns) return;
      this.#line?.write(stray);
      this.#line?.write(bytes);
    });
  }

  /** Runs `then` once so many bytes have passed the line, after those before them. */
  #paced(way: "toBoard" | "toStation", count: number, then: () => void): void {
    const baud = this.fault === "slow" ? SLOW_BAUD : (this.#options.baud ?? 115_200);
    const nowMs = performance.now();
    this.lineBytes[way] += count;
    const untilMs = Math.max(nowMs, this.#busyUntilMs[way]) + (count * BITS_A_BYTE * 1_000) / baud;
    this.#busyUntilMs[way] = untilMs;
    setTimeout(then, untilMs - nowMs).unref();
  }

  #runApplication(): void {
    const { broker } = this.#options;
    if (broker === undefined || this.#device !== undefined || this.#line === undefined) return;
    const { storage, keyStore } = this;
    const device = new Device(
      { broker, buildTimeMs: 0, backoff: { baseMs: 100, capMs: 1_000, floorMs: 50 } },
      nodePlatform({ storage, keyStore }),
    );
    this.#device = device;
    device.listen((event) => {
      // Not awaited: a board that is unplugged leaves its message unsent.
      if (event.type === "connected") device.publish("up/hello", JSON.stringify({ mac: this.mac })).catch(() => undefined);
    });
    device.start();
  }
}

/** Stray bytes; a zero among them would be a border of frames, which noise may well hold. */
function noise(number: () => number): Uint8Array {
  return Uint8Array.from({ length: 1 + Math.floor(number() * 40) }, () => Math.floor(number() * 256));
}
