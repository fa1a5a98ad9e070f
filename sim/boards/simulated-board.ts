/**
 * A board for factory stations: its firmware (`board-firmware.ts`) on a serial line of a certain speed, over keys and records that outlive
 * its power-ons.
 */
import { errorMessage } from "../../sdk/errors.js";
import type { Endpoint } from "../../sdk/platform.js";
import { encodeFrame, FrameDecoder } from "../../sdk/provisioning/frames.js";
import { nodeBoards } from "./board-engine.js";
import type { BoardEngine, BoardFlash, PoweredBoard } from "./board-engine.js";
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
  /** Default: Node. */
  readonly engine?: BoardEngine;
  /** The flash of another board of the same engine, for a clone. */
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
  readonly flash: BoardFlash;
  /** Why its engine ended by itself, which no fault makes it do. */
  crash: string | undefined;
  /** Bytes that passed the line since the board was made. */
  readonly lineBytes = { toBoard: 0, toStation: 0 };
  /** Has the jig pull the cable. */
  onPull: () => void = () => undefined;
  readonly #options: SimulatedBoardOptions;
  readonly #engine: BoardEngine;
  readonly #faultFrame: number;
  #frames = 0;
  #powerOns = 0;
  #powered: PoweredBoard | undefined;
  #line: PseudoTerminal | undefined;
  readonly #busyUntilMs = { toBoard: 0, toStation: 0 };

  constructor(options: SimulatedBoardOptions) {
    const { mac, fault, number, flashOf } = options;
    this.#options = options;
    this.mac = mac;
    this.fault = fault;
    this.#engine = options.engine ?? nodeBoards;
    this.flash = flashOf?.flash ?? this.#engine.newFlash();
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
    const line = this.#line;
    this.#line = undefined;
    await Promise.all([line?.cut(), this.#powerOff()]);
  }

  #powerOn(): void {
    const powerOn = ++this.#powerOns;
    const { mac, firmware, number, broker } = this.#options;
    const boot = (): void => {
      if (powerOn !== this.#powerOns) return;
      this.#send(BOOT_LOG, powerOn);
      if (this.fault === "noise") this.#send(noise(number), powerOn);
      const write = (bytes: Uint8Array): void => this.#send(bytes, powerOn);
      this.#powered = this.#engine.start(this.flash, { about: { mac, firmware }, write, ...(broker && { broker }) });
    };
    if (this.fault === "late") setTimeout(boot, LATE_MS).unref();
    else boot();
  }

  async #powerOff(): Promise<void> {
    const powered = this.#powered;
    this.#powered = undefined;
    try {
      await powered?.off();
    } catch (error) {
      this.crash = errorMessage(error);
    }
  }

  #receive(payload: Uint8Array): void {
    this.#frames += 1;
    if (this.#frames === this.#faultFrame && this.fault === "pull") return this.onPull();
    if (this.#frames === this.#faultFrame && this.fault === "reset") {
      const powerOn = ++this.#powerOns;
      return void this.#powerOff().then(() => powerOn === this.#powerOns && this.#powerOn());
    }
    if (this.fault === "loss" && this.#options.number() < 0.1) return;
    this.#powered?.receive(encodeFrame(payload));
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
}

/** Stray bytes; a zero among them would be a border of frames, which noise may well hold. */
function noise(number: () => number): Uint8Array {
  return Uint8Array.from({ length: 1 + Math.floor(number() * 40) }, () => Math.floor(number() * 256));
}
