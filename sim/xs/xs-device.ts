/** A device on the XS engine, driven from Node: the SDK's `Device` in a child process, over `device-protocol.ts`. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ErrorCode } from "../../sdk/error-codes.js";
import { HawserError } from "../../sdk/errors.js";
import type { DeviceEvent } from "../../sdk/events.js";
import { bundleDevice, type Bundle, type LeanOptions } from "../../firmware/build/xs-bundle.js";
import type { DeviceCommands, DeviceOutput } from "./device-protocol.js";
import type { Bits } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import type { HostStore } from "./store-server.js";
import { startXs, type XsExit, type XsProcess, type XsRunOptions } from "./xs-run.js";

export interface XsDeviceOptions {
  /**
   * The program, and without `store` the records and keys of the device; made with mode 0700 when absent. A later device on the same folder
   * goes on where this one ended.
   */
  folder: string;
  /** Keeps records and keys instead of the folder. */
  store?: HostStore;
  /** As in `XsRunOptions`. */
  ownGroup?: boolean;
  onMessage?: (message: DeviceOutput) => void;
  /** Default 32: slots as on the ESP32. */
  bits?: Bits;
  /** As in `XsRunOptions`. */
  heap?: XsRunOptions["heap"];
  stress?: boolean;
  /** As in `BundleOptions`. */
  lean?: LeanOptions;
}

/** The library in ROM and the program, bundled anew: they change with the SDK. */
export async function bundleDeviceProgram(outputFolder: string, lean?: LeanOptions): Promise<{ library: Bundle; program: string }> {
  const folder = join(packageRoot(), "sim", "xs");
  const libraryEntry = join(folder, "device-library.ts");
  const library = await bundleDevice({ entry: libraryEntry, outputFile: join(outputFolder, "library.mjs"), ...(lean && { lean }) });
  const program = await bundleDevice({
    entry: join(folder, "device-program.ts"),
    outputFile: join(outputFolder, "program.mjs"),
    separate: { [libraryEntry]: "hawser" },
  });
  return { library, program: program.file };
}

function folders(folder: string): { storageFolder: string; keysFolder: string } {
  const made = { storageFolder: join(folder, "records"), keysFolder: join(folder, "keys") };
  for (const path of Object.values(made)) mkdirSync(path, { recursive: true, mode: 0o700 });
  return made;
}

/**
 * The device program, waiting for commands.
 * @throws HawserError as `startXs` and `nativeParts`
 */
export async function startDeviceProgram(options: XsDeviceOptions): Promise<XsProcess> {
  const { store, ownGroup, onMessage, heap, bits = 32, stress = false, lean } = options;
  const places = store ? { store } : folders(options.folder);
  const { library, program } = await bundleDeviceProgram(join(options.folder, "program"), lean);
  const native = await nativeParts(bits, { sanitize: stress, keys: store ? "store" : "directory" });
  return startXs({
    program,
    bits,
    native,
    stress,
    ...places,
    ...(ownGroup && { ownGroup }),
    ...(onMessage && { onMessage: (message) => onMessage(message as unknown as DeviceOutput) }),
    inRom: "code",
    modules: { hawser: library.file },
    preload: ["hawser"],
    ...(heap && { heap }),
  });
}

export class XsDevice {
  readonly #process: XsProcess;
  #lastCall = 0;

  private constructor(process: XsProcess) {
    this.#process = process;
  }

  /** @throws HawserError as `startXs` and `nativeParts` */
  static async start(options: Omit<XsDeviceOptions, "onMessage">): Promise<XsDevice> {
    return new XsDevice(await startDeviceProgram(options));
  }

  /** Everything the device said so far. */
  get output(): readonly DeviceOutput[] {
    return this.#process.messages as unknown as DeviceOutput[];
  }

  get events(): DeviceEvent[] {
    return this.output.flatMap((line) => ("event" in line ? [line.event] : []));
  }

  get exited(): Promise<XsExit> {
    return this.#process.exited;
  }

  /** Sends a command and waits for its answer. @throws HawserError the device's own, or `XS_ENDED` */
  async call<Name extends keyof DeviceCommands>(name: Name, parameters: DeviceCommands[Name][0]): Promise<DeviceCommands[Name][1]> {
    const call = ++this.#lastCall;
    this.#process.send({ call, do: name, with: parameters });
    const answer = await this.#process.message((message) => message["answer"] === call);
    const error = answer["error"] as { code: ErrorCode; message: string; nextStep: string } | undefined;
    if (error) throw new HawserError(error.code, error.message, error.nextStep);
    return answer["result"] as DeviceCommands[Name][1];
  }

  /** The first line, past or to come, that fits; looks from line number `from` on. @throws HawserError `XS_ENDED` */
  async line(fits: (line: DeviceOutput) => boolean, from = 0): Promise<DeviceOutput> {
    return (await this.#process.message((message) => fits(message as unknown as DeviceOutput), from)) as unknown as DeviceOutput;
  }

  /** The first event of this type from line number `from` on. */
  async event<Type extends DeviceEvent["type"]>(type: Type, from = 0): Promise<Extract<DeviceEvent, { type: Type }>> {
    const line = await this.line((each) => "event" in each && each.event.type === type, from);
    return (line as { event: Extract<DeviceEvent, { type: Type }> }).event;
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#process.kill(signal);
  }
}
