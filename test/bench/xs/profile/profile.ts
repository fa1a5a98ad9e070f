/** Which modules of the MQTT client the byte codes of a QoS 1 message are spent in, and what of its heap comes at which step. */
import { join, relative } from "node:path";
import { bundleDevice, type BundleOptions } from "../../../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../../../firmware/build/project-files.js";
import { startXs } from "../../../../sim/xs/xs-run.js";
import { freePort, startMosquitto } from "../../../support/node/test-mosquitto.js";
import type { PlainTask } from "../plain-task.js";
import type { Profile } from "./profile-counter.js";
import { profiledSource } from "./profile-source.js";

/** By name, the most first. */
export type Rows = readonly (readonly [name: string, value: number])[];

const ROOT = packageRoot();
const HERE = join(ROOT, "test", "bench", "xs", "profile");
const TASK = { count: 50, payloadBytes: 128 } as const;

/**
 * @param wholePerMessage byte codes of a message as measured without a profile: telling costs more in some functions than in that which is
 *   measured, so what is taken off for it is scaled until the sum is right
 */
export async function profileMessage(folder: string, wholePerMessage: number): Promise<Rows> {
  const rewrite = (source: string, path: string): string => {
    const module = relative(ROOT, path);
    return module.startsWith("test") || module.includes("host-natives") ? source : profiledSource(source, module);
  };
  const messages = await run(folder, "profile-program.ts", { entry: join(HERE, "profile-library.ts"), rewrite }, []);
  const profile = messages.find((message) => "profile" in message)?.["profile"] as Profile | undefined;
  if (profile === undefined) throw new Error("the profiled program said nothing");
  const { modules, own, callers } = profile;
  const rows = Object.entries(modules);
  const told = rows.map(([, { calls, callsMade }]) => calls * own + callsMade * callers);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const scale = (sum(rows.map(([, { codes }]) => codes)) - wholePerMessage * TASK.count) / sum(told);
  return rows
    .map(([module, { codes }], index) => [module, Math.round((codes - scale * (told[index] ?? 0)) / TASK.count)] as const)
    .sort(([, one], [, other]) => other - one);
}

/** Live heap beyond the empty machine that each step adds, bytes. */
export async function profileHeap(folder: string): Promise<Rows> {
  const library = { entry: join(ROOT, "test", "support", "xs", "mqtt-library.ts") };
  const steps = (await run(folder, "heap-steps.ts", library, ["library"])) as unknown as readonly {
    step: string;
    slotsUsed: number;
    slotBytes: number;
    chunkBytesUsed: number;
  }[];
  const used = steps.map(({ slotsUsed, slotBytes, chunkBytesUsed }) => slotsUsed * slotBytes + chunkBytesUsed);
  return steps.slice(1).map(({ step }, index) => [step, (used[index + 1] ?? 0) - (used[index] ?? 0)] as const);
}

async function run(
  folder: string,
  programName: string,
  library: Pick<BundleOptions, "entry" | "rewrite">,
  preload: readonly string[],
): Promise<readonly Record<string, unknown>[]> {
  const bundle = await bundleDevice({ ...library, outputFile: join(folder, `library-of-${programName}.mjs`) });
  const separate = { [library.entry]: "library" };
  const program = await bundleDevice({ entry: join(HERE, programName), outputFile: join(folder, `${programName}.mjs`), separate });
  const port = await freePort();
  const broker = await startMosquitto(folder, `broker-${programName}`, {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  try {
    const task: PlainTask = { port, ...TASK };
    const modules = { library: bundle.file };
    const xs = await startXs({
      program: program.file,
      bits: 32,
      inRom: "code",
      modules,
      preload: [...preload],
      args: [JSON.stringify(task)],
    });
    const { code, errors } = await xs.exited;
    if (code !== 0) throw new Error(`${programName} ended with ${code}: ${errors}`);
    return xs.messages;
  } finally {
    await broker.stop();
  }
}
