/** Simulated boards of a factory on the XS engine: each power-on is a process, with the TLS engine and key store in C of the chip. */
import { join } from "node:path";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import type { BoardEngine, BoardParts, PoweredBoard } from "../boards/board-engine.js";
import type { BoardCommand, BoardOutput } from "./board-protocol.js";
import { buildHost, type NativeParts } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import type { HostStore } from "./store-server.js";
import { endedError, startXs, type XsProcess } from "./xs-run.js";

const LIBRARY = "hawser/board";

interface Files {
  readonly native: NativeParts;
  readonly library: string;
  readonly program: string;
}

/**
 * Bundles what the boards run into a folder, which must stay while they do, and builds their native parts.
 * @throws HawserError `BUNDLE_FAILED`, and as `nativeParts` and `buildHost`
 */
export async function xsBoards(folder: string): Promise<BoardEngine> {
  const sources = join(packageRoot(), "sim", "xs");
  const libraryEntry = join(sources, "board-library.ts");
  const library = await bundleDevice({ entry: libraryEntry, outputFile: join(folder, "library.mjs") });
  const program = await bundleDevice({
    entry: join(sources, "board-program.ts"),
    outputFile: join(folder, "program.mjs"),
    separate: { [libraryEntry]: LIBRARY },
  });
  const native = await nativeParts(64, { keys: "store" });
  // Now, not at the first board.
  await buildHost({ bits: 64, stress: false, native });
  const files = { native, library: library.file, program: program.file };
  return { newFlash, start: (flash, parts) => new XsBoard(files, flash as HostStore, parts) };
}

class XsBoard implements PoweredBoard {
  readonly #started: Promise<XsProcess>;
  #listens = false;
  #isOn = true;
  #endedByItself = false;

  constructor(files: Files, flash: HostStore, parts: BoardParts) {
    this.#started = this.#start(files, flash, parts);
    // Told by `off`.
    this.#started.catch(() => undefined);
  }

  receive(bytes: Uint8Array): void {
    if (this.#listens) void this.#started.then((xs) => this.#say(xs, { line: Buffer.from(bytes).toString("base64") }));
  }

  async off(): Promise<void> {
    this.#isOn = false;
    const xs = await this.#started;
    xs.kill();
    const exit = await xs.exited;
    // In the moment between its end and the word of it, only the signal tells.
    if (this.#endedByItself || exit.signal !== "SIGKILL") throw endedError(exit);
  }

  async #start({ native, library, program }: Files, store: HostStore, { about, broker, write }: BoardParts): Promise<XsProcess> {
    const xs = await startXs({
      program,
      bits: 64,
      native,
      store,
      // A terminal's Ctrl-C is this process's to answer.
      ownGroup: true,
      inRom: "code",
      modules: { [LIBRARY]: library },
      preload: [LIBRARY],
      onMessage: (message) => {
        const output = message as unknown as BoardOutput;
        if (!this.#isOn) return;
        if ("line" in output) write(new Uint8Array(Buffer.from(output.line, "base64")));
        else this.#listens = true;
      },
    });
    void xs.exited.then(() => (this.#endedByItself = this.#isOn));
    this.#say(xs, { on: { about, ...(broker && { broker }) } });
    return xs;
  }

  #say(xs: XsProcess, command: BoardCommand): void {
    if (this.#isOn) xs.send({ ...command });
  }
}

/** Flash in this process's memory. */
function newFlash(): HostStore {
  const records = new Map<string, Uint8Array>();
  const keys = new Map<number, Uint8Array>();
  return {
    records: {
      get: (key) => records.get(key),
      put: (key, value) => void records.set(key, value),
      delete: (key) => void records.delete(key),
      list: (prefix) => [...records.keys()].filter((key) => key.startsWith(prefix)).sort(),
    },
    keys: {
      get: (id) => keys.get(id),
      put: (id, file) => void keys.set(id, file),
      delete: (id) => void keys.delete(id),
    },
  };
}
