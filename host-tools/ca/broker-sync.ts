/**
 * Carries the state of a CA to every broker configuration that was written from it, and ends there the sessions that lost what they were
 * let in for.
 */
import { existsSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { nameOfPskIdentity } from "../../sdk/identity/device-id.js";
import { CONTROL_NAME } from "../brokers/mosquitto/mosquitto-acl.js";
import { forgetSession } from "../brokers/mosquitto/mosquitto-forget.js";
import { writeConfiguration } from "../brokers/mosquitto/mosquitto-output.js";
import { addressOf, bringUpToDate, wasStartedWith } from "../brokers/mosquitto/mosquitto-reload.js";
import type { Loading } from "../brokers/mosquitto/mosquitto-reload.js";
import { endSessions } from "../brokers/mosquitto/mosquitto-session-ending.js";
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { expiredSince, lostSessions, oweAlso } from "../ca-directory/sessions-to-end.js";
import type { OwedEnd } from "../ca-directory/sessions-to-end.js";
import type { RegistryNames } from "../ca-directory/ca-registry.js";
import { outputsHere, outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output } from "../ca-directory/outputs-file.js";
import type { CaFiles, ProvedFiles } from "../ca-directory/ca-files.js";
import type { Draft, FollowUp } from "../ca-directory/change-draft.js";
import { brokerFacts, untilCut, withHeld } from "./broker-facts.js";
import type { CaFacts } from "./broker-facts.js";
import { agentAway, awaitAgent, lacksBundle, publishBundle } from "./agent-brokers.js";
import { passingCredentials } from "./clients.js";
import type { CaKeys } from "./context.js";
import { OutputBinding, successor } from "./broker-folder-binding.js";

/** What became of one broker configuration and its broker. */
export interface OutputResult {
  readonly directory: string;
  /** Names of the files that changed. */
  readonly changed: readonly string[];
  /** True when a running broker was told to read them, and has. */
  readonly reloaded: boolean;
  /** Whether its broker was proved to have loaded its files; undefined when it was not asked. */
  readonly loaded?: boolean;
  /** Names whose sessions there were ended. */
  readonly ended: readonly string[];
  /** Names that have no rights there until their old sessions are proved to have ended. */
  readonly held: readonly string[];
  /**
   * `OUTPUT_GONE` (forgotten from now on), `OUTPUT_TAKEN` or `OUTPUT_NEWER` (another CA's, see {@link OutputBinding}), `OUTPUT_REFUSED`,
   * `OUTPUT_NOT_RELOADED`, `OUTPUT_UNPROVED` (sessions should end, and no broker answers), `SESSIONS_NOT_ENDED`, `STORAGE_FAILED`,
   * `STORAGE_FULL`
   */
  readonly problem?: HawserError;
}

export interface SyncOptions {
  /** The CA as its last change left it. */
  readonly committed: ProvedFiles;
  /** Ask running brokers for their state even where no file changed: an earlier reload may have failed. */
  readonly prove: boolean;
  /** End the sessions of these user names as well. */
  readonly end?: readonly string[];
  /** Directories may be another CA's, or of the CA that this is a copy of. */
  readonly takeOver?: boolean;
  /** Where machines share the CA: only the configurations of this one are brought up to date. */
  readonly machine: string | undefined;
  readonly nowMs: number;
}

/** Notes with a change, for every broker, whose sessions it ends: a crash before they are ended cannot lose that. */
export function oweSessions(draft: Draft): void {
  // The passphrase changes: the pre-shared keys stay as they are, only sealed anew.
  if (draft.nextSealing !== undefined) return;
  const lost = lostSessions(draft.before.entries, draft.changedEntries);
  if (lost.length === 0) return;
  const outputs = readOutputs(draft);
  if (outputs.length > 0) draft.write(FILES.outputs, outputsText(outputs.map((output) => owing(output, lost))));
}

/** Without the plugin only a restart ends sessions, one that comes after this. */
function owing(output: Output, more: readonly OwedEnd[]): Output {
  const { settings, owed } = output;
  const needsRestart = settings.plugin === undefined && more.length > 0;
  return {
    ...output,
    owed: oweAlso(owed, more),
    settings: needsRestart ? { ...settings, restarts: (settings.restarts ?? 0) + 1 } : settings,
  };
}

/** Has a change leave out this machine's configurations whose directory is gone, and says which. */
export function forgetGone(draft: Draft, machine: string | undefined): OutputResult[] {
  const outputs = readOutputs(draft);
  const missing = outputsHere(outputs, machine).filter(({ directory }) => !existsSync(directory));
  if (missing.length > 0) draft.write(FILES.outputs, outputsText(outputs.filter((output) => !missing.includes(output))));
  return missing.map(({ directory }) => ({
    directory,
    changed: [],
    reloaded: false,
    loaded: false,
    ended: [],
    held: [],
    problem: gone(directory),
  }));
}

export interface SyncedOutputs {
  readonly results: readonly OutputResult[];
  /** Notes down what was ended and what is still owed; undefined when nothing of that changed. */
  readonly followUp: FollowUp | undefined;
}

/**
 * Rewrites every configuration that is not up to date, has its broker load it, and ends the sessions that are owed. The caller holds the
 * CA's lock.
 */
export async function syncOutputs(files: CaFiles, keys: CaKeys, names: RegistryNames, options: SyncOptions): Promise<SyncedOutputs> {
  const known = readOutputs(files);
  const outputs = outputsHere(known, options.machine);
  if (outputs.length === 0) return { results: [], followUp: undefined };
  const facts = brokerFacts(files, keys, names);
  const binding = new OutputBinding(options.committed);
  // All at once: no broker waits for one that is slow or away.
  const settled = await Promise.allSettled(
    outputs.map((output) => new OutputSync(files.directory, keys, names, facts, binding, options).run(output)),
  );
  const synced = settled.map((one): Synced => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
  const results = synced.map(({ result }) => result);
  const after = new Map(synced.map(({ output }, index) => [outputs[index], output]));
  const text = outputsText(known.map((output) => after.get(output) ?? output));
  return { results, followUp: text === outputsText(known) ? undefined : (draft) => noteDown(draft, text, results) };
}

function noteDown(draft: Draft, text: string, results: readonly OutputResult[]): void {
  draft.write(FILES.outputs, text);
  const ended = results.flatMap(({ directory, ended: names }) => names.map((name) => `${name} at ${directory}`));
  const owed = results.flatMap(({ directory, problem }) => (problem === undefined ? [] : [`${directory}: ${problem.code}`]));
  draft.record({ event: "sessions-ended", ended, owed });
}

interface Synced {
  readonly result: OutputResult;
  /** As it is to be remembered. */
  readonly output: Output;
}

/** The key is used at once and only in memory. */
const CREDENTIALS_LIFETIME_MS = 5 * 60_000;

const ONE_TRY_MS = 1;

class OutputSync {
  readonly #changed = new Set<string>();
  #reloaded = false;

  constructor(
    private readonly directory: CaDirectory,
    private readonly keys: CaKeys,
    private readonly names: RegistryNames,
    private readonly facts: CaFacts,
    private readonly binding: OutputBinding,
    private readonly options: SyncOptions,
  ) {}

  async run(known: Output): Promise<Synced> {
    const { nowMs, end = [] } = this.options;
    const again = end.map((userName) => ({ userName, hold: "never" as const }));
    const expired = expiredSince(this.names.summaries(), known.sweptAtMs, nowMs).filter(({ userName }) =>
      known.owed.every((owedEnd) => owedEnd.userName !== userName),
    );
    const before = owing(known, [...expired, ...again]);
    const { owed } = before;
    // Made while the broker loads its files: the sessions should not last a moment longer.
    const control = owed.length === 0 ? undefined : this.#credentialsOf(CONTROL_NAME);
    control?.catch(() => undefined);
    try {
      const loading = await this.#write(before, owed);
      if (control === undefined) return this.#done(before, loading, []);
      await this.#end(before, owed, loading, control);
      // What was held back meanwhile is given now, and what was left until the cut is taken.
      if (owed.some(({ hold }) => hold !== "never")) await this.#write(before, []);
      return this.#done({ ...before, owed: [], sweptAtMs: nowMs }, "loaded", namesOf(owed));
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
      return this.#failed(before, owed, error);
    }
  }

  async #write(output: Output, owed: Output["owed"], limitMs?: number): Promise<Loading | undefined> {
    const { directory } = output;
    if (!existsSync(directory)) throw gone(directory);
    const { takeOver, nowMs } = this.options;
    await this.binding.check(directory, takeOver === true ? successor(this.keys, this.facts, this.names, nowMs) : undefined);
    const facts = untilCut(withHeld(this.facts, owed), owed, this.names.entries);
    const place = this.directory.pathOf(DIRECTORIES.trial);
    const changed = await writeConfiguration(output, facts, place, () => this.binding.bind(directory));
    this.binding.keep(directory);
    for (const name of changed) this.#changed.add(name);
    if (changed.length === 0 && owed.length === 0 && !this.options.prove) return undefined;
    if (output.agent !== undefined && (changed.length > 0 || lacksBundle(directory)))
      await publishBundle(output, output.agent, facts, this.keys, this.options.nowMs);
    const loading =
      output.agent === undefined ? await bringUpToDate(output, facts, changed.length > 0, limitMs) : await awaitAgent(output, limitMs);
    this.#reloaded ||= loading === "reloaded";
    return loading;
  }

  #credentialsOf(name: string): ReturnType<typeof passingCredentials> {
    return passingCredentials(this.keys, name, Date.now(), CREDENTIALS_LIFETIME_MS);
  }

  async #end(
    { directory, settings, agent }: Output,
    owed: Output["owed"],
    loading: Loading | undefined,
    control: ReturnType<typeof passingCredentials>,
  ): Promise<void> {
    if (loading === "silent" && agent !== undefined) throw agentAway(directory, someOf(namesOf(owed)));
    if (loading === "silent") {
      const address = `${addressOf(settings)}:${settings.pskPort}`;
      const next =
        "If it is stopped, start it; if it runs elsewhere, give its address (hawser broker config --reach). Then run: hawser broker sync --dir CA";
      throw new HawserError(
        "OUTPUT_UNPROVED",
        `no broker answers at ${address} for ${directory}; old sessions of ${someOf(namesOf(owed))} may not have ended`,
        next,
      );
    }
    if (settings.plugin === undefined) {
      if (await wasStartedWith(settings, withHeld(this.facts, owed))) return;
      const next =
        "Restart the broker, then run: hawser broker sync --dir CA. (mosquitto's dynamic-security plugin ends sessions without that: install it, write the configuration again.)";
      throw new HawserError(
        "SESSIONS_NOT_ENDED",
        `old sessions of ${someOf(namesOf(owed))} at the broker of ${directory} end only with a restart: it has no dynamic-security plugin`,
        next,
      );
    }
    await endSessions(
      settings,
      await control,
      owed.map(({ userName }) => userName),
    );
    for (const name of namesOf(owed)) {
      const state = this.names.entries.get(name)?.state;
      // What waits for the old holder is not for a new one.
      if (state === "revoked" || state === "reserved") await forgetSession(settings, name, await this.#credentialsOf(name));
    }
  }

  #done(output: Output, loading: Loading | undefined, ended: readonly string[]): Synced {
    const loaded = loading === undefined ? {} : { loaded: loading !== "silent" };
    return {
      output,
      result: { directory: output.directory, changed: [...this.#changed], reloaded: this.#reloaded, ...loaded, ended, held: [] },
    };
  }

  async #failed(before: Output, owed: Output["owed"], problem: HawserError): Promise<Synced> {
    const stillOwed = owed.map((end) => (end.hold === "later" ? { ...end, hold: "now" as const } : end));
    if (problem.code !== "OUTPUT_GONE" && stillOwed.some(({ hold }, index) => hold !== owed[index]?.hold)) {
      // The broker may load them later: it must not find rights that an old session could use. What is wrong was told already.
      await this.#write(before, stillOwed, ONE_TRY_MS).catch(() => undefined);
    }
    const held = namesOf(stillOwed.filter(({ hold }) => hold === "now"));
    const result = {
      directory: before.directory,
      changed: [...this.#changed],
      reloaded: this.#reloaded,
      loaded: problem.code === "SESSIONS_NOT_ENDED",
      ended: [],
      held,
      problem,
    };
    return { output: { ...before, owed: stillOwed }, result };
  }
}

function namesOf(owed: Output["owed"]): string[] {
  return [...new Set(owed.map(({ userName }) => nameOfPskIdentity(userName)))];
}

function someOf(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

function gone(directory: string): HawserError {
  return new HawserError(
    "OUTPUT_GONE",
    `the broker configuration in ${directory} no longer exists and will not be updated any more`,
    "If it is still needed, write it again with `hawser broker config`.",
  );
}
