/** `npm run world`: see {@link USAGE}. */
import { availableParallelism } from "node:os";
import { errorText } from "./cli/arguments.js";
import { addUp, figuresText, violationText } from "./cli/figures.js";
import { comparisonText, differenceText } from "./cli/comparison.js";
import { parseWorldCommand, USAGE, type WorldCommand } from "./cli/world-options.js";
import { FAULT_KINDS } from "./faults/fault-plan.js";
import { loadTrial, MUTATIONS, mutationText, tryMutation } from "./mutations/mutations.js";
import { drainOnNode, runWorld } from "./node-host.js";
import { POWER_CUT_SCENES, powerCutFigures, type PowerCutFigures } from "./power-cuts.js";
import { medianStorm, POLICIES, STORM, stormTable } from "./storm.js";
import type { WorldResult } from "./world/world.js";

const print = (text: string): void => void process.stdout.write(text);
/** A sign of life on a terminal, milliseconds. */
const PROGRESS_EVERY_MS = 5_000;

async function runWorlds(asked: WorldCommand): Promise<number> {
  const results: WorldResult[] = [];
  let shownAtMs = Date.now();
  for (let seed = asked.seed; seed < asked.seed + asked.seeds; seed++) {
    const onLine = asked.timeline && !asked.json ? { onLine: (line: string): void => print(`${line}\n`) } : {};
    const result = await runWorld({ seed: String(seed), devices: asked.devices, days: asked.days, faults: asked.faults, ...onLine });
    results.push(result);
    if (result.violations.length > 0 && !asked.json) print(violationText(result, again(asked, seed)));
    if (process.stderr.isTTY && Date.now() - shownAtMs > PROGRESS_EVERY_MS) {
      shownAtMs = Date.now();
      process.stderr.write(`${results.length} of ${asked.seeds} seeds\n`);
    }
  }
  const figures = addUp(results);
  if (asked.json)
    print(
      `${JSON.stringify({ ...figures, digests: results.map(({ digest }) => digest), violations: results.flatMap(({ seed, violations }) => violations.map((one) => ({ seed, ...one }))) })}\n`,
    );
  else print(figuresText(figures));
  return figures.brokenSeeds.length === 0 ? 0 : 1;
}

/** Each world on Node and on XS. Loaded when asked for: the XS engine is built from source, with tools that only a checkout has. */
async function compareEngines(asked: WorldCommand): Promise<number> {
  const { compareWorlds } = await import("../xs/compare-worlds.js");
  const faults = asked.faults.map(({ name }) => name);
  const requests = Array.from({ length: asked.seeds }, (_, offset) => ({
    seed: String(asked.seed + offset),
    devices: asked.devices,
    days: asked.days,
    faults,
  }));
  let done = 0;
  const startedAtMs = performance.now();
  const worlds = await compareWorlds(requests, {
    processes: availableParallelism(),
    onWorld: ({ result, difference }) => {
      if (process.stderr.isTTY) process.stderr.write(`${++done} of ${asked.seeds} seeds${done === asked.seeds ? "\n" : "\r"}`);
      if (difference && !asked.json)
        print(differenceText(result.seed, difference, again(asked, Number(result.seed)).replace("--timeline", "--engine xs")));
    },
  });
  const unequal = worlds.filter(({ difference }) => difference !== undefined);
  const tookMs = performance.now() - startedAtMs;
  if (asked.json)
    print(
      `${JSON.stringify({ equal: worlds.length - unequal.length, unequal: unequal.map(({ result, difference }) => ({ seed: result.seed, ...difference })), tookMs, worlds: worlds.map(({ result, lines, nodeMs, xsMs }) => ({ seed: result.seed, digest: result.digest, lines, nodeMs, xsMs })) })}\n`,
    );
  else print(comparisonText(worlds, tookMs));
  return unequal.length === 0 ? 0 : 1;
}

function runStorm(asked: WorldCommand): number {
  const seeds = [0, 1, 2].map((offset) => String(asked.seed + offset));
  const rows = POLICIES.map(({ name, policy }) => ({ name, figures: medianStorm(STORM, policy, seeds) }));
  if (asked.json) print(`${JSON.stringify({ scene: STORM, seeds, rows })}\n`);
  else
    print(
      `${STORM.devices.toLocaleString("en-US")} devices, broker down ${STORM.downMs / 60_000} min, then ${STORM.acceptsPerSecond} accepts/s; median of seeds ${seeds.join(", ")}\n\n${stormTable(rows)}`,
    );
  return 0;
}

async function runPowerCuts(asked: WorldCommand): Promise<number> {
  let broken = 0;
  for (const scene of POWER_CUT_SCENES) {
    const figures = await powerCutFigures(scene, String(asked.seed), 1, drainOnNode);
    broken += figures.broken.length;
    if (asked.json) print(`${JSON.stringify(figures)}\n`);
    else print(powerCutText(figures));
  }
  return broken === 0 ? 0 : 1;
}

/** Seeds after which a deliberate fault counts as survived. */
const MUTATION_SEEDS = 40;

async function runMutations(asked: WorldCommand): Promise<number> {
  const sound = await loadTrial();
  let failures = 0;
  for (const mutation of MUTATIONS) {
    const result = await tryMutation(mutation, sound, MUTATION_SEEDS);
    if (!result.caught || !result.sound) failures++;
    print(asked.json ? `${JSON.stringify({ ...result, mutation: mutation.name })}\n` : mutationText(result));
  }
  if (!asked.json) print(`${MUTATIONS.length - failures} of ${MUTATIONS.length} deliberate faults found\n`);
  return failures === 0 ? 0 : 1;
}

function powerCutText({ scene, moments, singles, pairs, broken }: PowerCutFigures): string {
  const examples = broken
    .slice(0, 5)
    .map(({ cuts, violations }) => `  cut at ${cuts.join(", then ")}: ${violations[0]?.invariant} ${violations[0]?.what}\n`);
  return `${scene.padEnd(10)} ${moments} moments: ${singles} single cuts, ${pairs} pairs, ${broken.length} broken\n${examples.join("")}`;
}

function again({ devices, days, faults }: WorldCommand, seed: number): string {
  const names = faults === FAULT_KINDS ? "all" : faults.map((kind) => kind.name).join(",") || "none";
  return `npm run world -- --seed ${seed} --devices ${devices} --days ${days} --faults ${names} --timeline`;
}

async function main(): Promise<number> {
  const asked = parseWorldCommand(process.argv.slice(2));
  if (asked.command === "help") print(USAGE);
  else if (asked.command === "storm") return runStorm(asked);
  else if (asked.command === "mutations") return runMutations(asked);
  else if (asked.command === "power-cuts") return runPowerCuts(asked);
  else if (asked.command === "run") return asked.engine === "xs" ? compareEngines(asked) : runWorlds(asked);
  return 0;
}

main().then(
  (exitCode) => (process.exitCode = exitCode),
  (error: unknown) => {
    process.stderr.write(errorText(error));
    process.exitCode = 2;
  },
);
