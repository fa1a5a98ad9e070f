/** Do the invariants bite? Every deliberate fault is built into a copy of the core, and has to be found. Runs on Node, from the sources. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { HawserError } from "../../../sdk/errors.js";
import { CONNECTION_MUTATIONS } from "./connection-mutations.js";
import { CREDENTIAL_MUTATIONS } from "./credential-mutations.js";
import { MESSAGE_MUTATIONS } from "./message-mutations.js";
import type { Mutation, Verdict } from "./mutation.js";
import { findCode } from "./source-text.js";
import type { Trial } from "./trial.js";

export const MUTATIONS: readonly Mutation[] = [...CONNECTION_MUTATIONS, ...CREDENTIAL_MUTATIONS, ...MESSAGE_MUTATIONS];

export interface MutationResult extends Verdict {
  mutation: Mutation;
  /** Found, and by an invariant that this fault breaks. */
  caught: boolean;
  /** What the core as it is does on the same stage: nothing may be found there. */
  soundTries: number;
  sound: boolean;
}

type RunTrial = (trial: Trial) => Promise<Verdict>;

/**
 * Tries one mutation, and the core as it is on the same stage up to the point where the mutation was found.
 * @throws HawserError `MUTATION_OUT_OF_DATE` when its text is not in the source exactly once
 */
export async function tryMutation(mutation: Mutation, sound: RunTrial, seeds: number): Promise<MutationResult> {
  const runTrial = await loadTrial(mutation);
  const verdict = await runTrial({ stage: mutation.stage, seeds });
  const control = await sound({ stage: mutation.stage, seeds: verdict.tries });
  const caught = verdict.found && verdict.invariant !== undefined && mutation.invariants.includes(verdict.invariant);
  return { ...verdict, mutation, caught, sound: !control.found, soundTries: control.tries };
}

/** Bundles the trial with the core as it is, or with one fault in it, and loads the bundle. */
export async function loadTrial(mutation?: Mutation): Promise<RunTrial> {
  const { build } = await import("esbuild");
  const root = sourceRoot();
  const patched = mutation && { path: join(root, mutation.file), contents: patch(root, mutation) };
  const folder = mkdtempSync(join(tmpdir(), "hawser-mutation-"));
  try {
    const outfile = join(folder, "trial.mjs");
    await build({
      absWorkingDir: root,
      entryPoints: ["sim/virtual/mutations/trial.ts"],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      logLevel: "error",
      // CommonJS inside the bundle asks for Node's own modules through `require`.
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire("/");' },
      plugins: [
        {
          name: "mutation",
          setup: (bundle) =>
            bundle.onLoad({ filter: /\.ts$/ }, ({ path }) =>
              path === patched?.path ? { contents: patched.contents, loader: "ts" } : undefined,
            ),
        },
      ],
    });
    const loaded = (await import(pathToFileURL(outfile).href)) as { runTrial: RunTrial };
    return loaded.runTrial;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function patch(root: string, { file, find, replace, name }: Mutation): string {
  const source = readFileSync(join(root, file), "utf8");
  const places = findCode(source, find);
  const [place] = places;
  if (!place || places.length !== 1) {
    throw new HawserError(
      "MUTATION_OUT_OF_DATE",
      `"${name}": its text is ${places.length} times in ${file}, not once`,
      "Bring the mutation up to date with the core.",
    );
  }
  // The white space around the text stays as the source has it.
  return `${source.slice(0, place.start)}${replace.trim()}${source.slice(place.end)}`;
}

/** The repository: the sources are wanted, also when this runs from the built package. */
function sourceRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, "sdk", "index.ts")) && existsSync(join(folder, "package.json"))) return folder;
  }
  throw new HawserError("SOURCES_MISSING", "the sources of the SDK are not here", "Run this in a checkout of the repository.");
}

export function mutationText({ mutation, found, caught, sound, invariant, where }: MutationResult): string {
  const how = !sound
    ? "UNSOUND: the core as it is breaks there too"
    : !found
      ? "SURVIVED"
      : caught
        ? `found by ${invariant} (${where})`
        : `found by ${invariant}, which was not expected (${where})`;
  return `${caught && sound ? "ok  " : "FAIL"} ${mutation.name}: ${how}\n`;
}
