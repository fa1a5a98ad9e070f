/** A device for tests: the agent over keys and records in memory, which outlive its power-ons. */
import { ProvisioningAgent } from "../../../sdk/provisioning/agent.js";
import { encodeFrame, FrameDecoder } from "../../../sdk/provisioning/frames.js";
import { memoryKeyStore, memoryStorage } from "../../../sim/node/memory-stores.js";
import type { SerialLine } from "./serial-line.js";

const BOOT_LOG = Buffer.from(
  "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nentry 0x400805e4\r\n",
);

export class TestDevice {
  readonly keyStore = memoryKeyStore();
  readonly storage = memoryStorage();
  done = 0;
  /** Sees each frame before the device does; false keeps it from the device. */
  onFrame: (payload: Uint8Array) => boolean = () => true;
  #powerOns = 0;
  #agent: ProvisioningAgent | undefined;
  #line: Pick<SerialLine, "onData" | "write"> | undefined;

  /** Plugs the device in and switches it on. */
  connect(line: Pick<SerialLine, "onData" | "write">): void {
    this.#line = line;
    const frames = new FrameDecoder();
    line.onData = (bytes) => {
      for (const frame of frames.feed(bytes))
        if ("payload" in frame && this.onFrame(frame.payload)) this.#agent?.receive(encodeFrame(frame.payload));
    };
    this.restart();
  }

  /** Runs once, in the middle of the installation, the only request that is so long; that part is lost. */
  amidInstallation(run: () => void): void {
    this.onFrame = (payload) => {
      if (new DataView(payload.buffer).getUint16(2) < 1_000) return true;
      this.onFrame = () => true;
      run();
      return false;
    };
  }

  /** Power off and on. */
  restart(): void {
    const line = this.#line;
    line?.write(BOOT_LOG);
    const { storage, keyStore } = this;
    const powerOn = ++this.#powerOns;
    // What was running before says no more.
    const write = (bytes: Uint8Array): void => void (powerOn === this.#powerOns && line?.write(bytes));
    this.#agent = new ProvisioningAgent({ storage, keyStore, write, knownTimeMs: () => 0, onDone: () => this.done++ });
  }
}
