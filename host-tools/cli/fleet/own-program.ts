/** A product's own program for a fleet: found, made into one module that Node can load, and its inputs read from flags. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type * as Esbuild from "esbuild";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { BrokerEvent } from "../../../sim/brokers/broker-events.js";
import type { ProgramFaults } from "../../../sim/program/program-faults.js";
import type { ProgramPlan, SensorRange } from "../../../sim/program/program-plan.js";
import { parsePositiveDurationMs } from "../flag-values.js";

export interface ProgramFlags {
  program?: string;
  sensor?: string[];
  press?: string[];
  command?: string[];
  publishLimit: number;
  growthLimit: number;
}

export interface OwnProgram {
  readonly plan: ProgramPlan;
  /** Removes what was made. */
  remove(): void;
}

const NUMBER = String.raw`-?\d{1,12}(?:\.\d{1,9})?`;

/**
 * The program of the flags, checked as far as that needs no device.
 * @throws HawserError `NOT_FOUND`, `BUNDLE_FAILED`, `BAD_PROGRAM`, `USAGE`, `BAD_DURATION`, `INVALID_TOPIC`
 */
export async function ownProgram(flags: ProgramFlags, engine: "node" | "xs" = "node"): Promise<OwnProgram | undefined> {
  if (flags.program === undefined) {
    const stray = (["sensor", "press", "command"] as const).find((name) => flags[name] !== undefined);
    if (stray !== undefined) throw new HawserError("USAGE", `--${stray} is for your own program`, "Give --program FILE too.");
    return undefined;
  }
  const source = resolve(flags.program);
  if (!existsSync(source)) throw new HawserError("NOT_FOUND", `there is no ${source}`, "Give the path of your program's entry module.");
  const parts = {
    source,
    sensors: Object.fromEntries((flags.sensor ?? []).map(parseSensor)),
    pressEveryMs: Object.fromEntries((flags.press ?? []).map(parsePress)),
    commands: (flags.command ?? []).map(parseCommand),
    publishesPerSecond: flags.publishLimit,
    growthKilobytes: flags.growthLimit,
  };
  // For XS it is bundled with what runs it there.
  const { file, remove } = engine === "xs" ? asItIs(source) : await moduleOf(source);
  return { plan: { ...parts, file }, remove };
}

function parseSensor(text: string): [string, SensorRange] {
  const match = new RegExp(`^([^=]+)=(${NUMBER})(?:\\.\\.(${NUMBER}))?$`).exec(text);
  const lowest = Number(match?.[2]);
  const highest = Number(match?.[3] ?? lowest);
  if (match?.[1] === undefined || highest < lowest)
    throw new HawserError(
      "USAGE",
      `invalid sensor ${JSON.stringify(text)}`,
      "Write NAME=VALUE, or NAME=LOWEST..HIGHEST, e.g. temperature=18..24.",
    );
  return [match[1], { lowest, highest }];
}

function parsePress(text: string): [string, number] {
  const match = /^([^=]+)=(.+)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new HawserError("USAGE", `invalid button ${JSON.stringify(text)}`, "Write NAME=INTERVAL, e.g. reset=10s.");
  return [match[1], parsePositiveDurationMs(match[2])];
}

function parseCommand(text: string): { topic: string; payload: string } {
  const match = /^(down\/[^=+#\u0000]+)=(.*)$/s.exec(text);
  if (match?.[1] === undefined)
    throw new HawserError(
      "INVALID_TOPIC",
      `invalid command ${JSON.stringify(text)}`,
      "Write TOPIC=PAYLOAD, the topic below devices/{id}/: down/led=on. {n} in the payload is the command's number.",
    );
  return { topic: match[1], payload: match[2] ?? "" };
}

/** TypeScript is bundled by esbuild, the project's or this one's; without it Node runs it where it can. */
async function moduleOf(source: string): Promise<{ file: string; remove(): void }> {
  if (!/\.[cm]?ts$/.test(source)) return asItIs(source);
  const esbuild = await esbuildFor(source);
  if (esbuild === undefined) {
    if ("typescript" in process.features && process.features.typescript !== false) return asItIs(source);
    throw new HawserError(
      "BAD_PROGRAM",
      `this Node does not run ${source}`,
      "Install esbuild in your project (npm install --save-dev esbuild), use Node 22.18 or later, or compile it to JavaScript.",
    );
  }
  const folder = mkdtempSync(join(tmpdir(), "hawser-program-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const file = join(folder, "program.mjs");
  try {
    await esbuild.build({
      entryPoints: [source],
      outfile: file,
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      sourcemap: "inline",
      logLevel: "silent",
      plugins: [THIS_SDK],
    });
    return { file, remove };
  } catch (error) {
    remove();
    throw new HawserError("BUNDLE_FAILED", `${source} cannot be bundled: ${errorMessage(error)}`, "Fix what the message names.");
  }
}

function asItIs(source: string): { file: string; remove(): void } {
  return { file: source, remove: () => undefined };
}

/** The program and the device under it share one SDK: its classes are the same. */
const THIS_SDK: Esbuild.Plugin = {
  name: "this-sdk",
  setup(build) {
    build.onResolve({ filter: /^hawser(\/mqtt|\/presets|\/reports)?$/ }, ({ path }) => {
      const face = join(packageRoot(), "dist/sdk", path.slice("hawser".length), "index.js");
      return { path: pathToFileURL(face).href, external: true };
    });
  },
};

async function esbuildFor(source: string): Promise<typeof Esbuild | undefined> {
  try {
    return (await import(pathToFileURL(createRequire(source).resolve("esbuild")).href)) as typeof Esbuild;
  } catch {
    return import("esbuild").catch(() => undefined);
  }
}

/** MQTT 3.1.1, which the embedded broker speaks, acknowledges a message that it denies: only the broker knows. */
export function noteDenial(event: BrokerEvent, denials: ProgramFaults): void {
  if (event.type !== "denied") return;
  const topic = event.topic
    .split("/")
    .map((level) => (level === event.name ? "{id}" : level))
    .join("/");
  denials.add(
    "refused",
    event.name,
    event.action === "publish" ? `a message to ${topic} is denied by the policy` : `a subscription to ${topic} is denied by the policy`,
  );
}
