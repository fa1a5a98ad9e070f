/** Virtual worlds on the XS engine, one after the other in one child process, driven from Node. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WorldResult } from "../virtual/world/world.js";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import type { Bits } from "./host-build.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import { startXs, type XsProcess } from "./xs-run.js";
import type { WorldOutput, WorldRequest } from "./world-protocol.js";

export interface PlayedWorld {
  /** The whole event log. */
  lines: string[];
  result: WorldResult;
}

/** Promise chains of the worlds' inhabitants go deeper than the host's usual stack. */
const STACK_SLOTS = 16_384;

export class XsWorlds {
  private constructor(
    private readonly process: XsProcess,
    private readonly folder: string,
  ) {}

  /**
   * Bundles the world and the SDK as they are now and starts the engine. No heap limit: worlds are larger than devices.
   * @throws HawserError `BUNDLE_FAILED`, and as `buildHost`
   */
  static async start(bits: Bits = 64): Promise<XsWorlds> {
    const folder = mkdtempSync(join(tmpdir(), "hawser-xs-worlds-"));
    try {
      const program = await bundleDevice({
        entry: join(packageRoot(), "sim", "xs", "world-program.ts"),
        outputFile: join(folder, "program.mjs"),
      });
      return new XsWorlds(await startXs({ program: program.file, bits, inRom: "code", heap: { stackSlots: STACK_SLOTS } }), folder);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Plays one world to its end; one at a time. @throws HawserError `XS_ENDED` */
  async play(request: WorldRequest): Promise<PlayedWorld> {
    const outputs = this.process.messages as unknown as WorldOutput[];
    const from = outputs.length;
    this.process.send({ ...request });
    const last = (await this.process.message((message) => "result" in message, from)) as unknown as { result: WorldResult };
    return { lines: outputs.slice(from).flatMap((output) => ("line" in output ? [output.line] : [])), result: last.result };
  }

  async close(): Promise<void> {
    this.process.kill();
    await this.process.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
