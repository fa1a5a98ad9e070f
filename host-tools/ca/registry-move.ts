/**
 * Moves the registry of a CA to another home. Between files and SQLite, the new one is made complete beside the old one, read back and
 * compared; then one change of the CA makes it count; then the old one is removed. To PostgreSQL, that change founds a log there, and the
 * registry that is here becomes this machine's copy. Cut off anywhere, one of the two counts and is whole.
 */
import { randomBytes } from "node:crypto";
import { HawserError } from "../../sdk/errors.js";
import type { Draft } from "../ca-directory/change-draft.js";
import { writeDatabaseFile } from "../ca-directory/database-file.js";
import { databaseAddress } from "../ca-directory/database-source.js";
import { entryFile, FILES } from "../ca-directory/directory-layout.js";
import { forgetDatabase } from "../ca-directory/log-replica.js";
import { outputsHere, outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import { PostgresLog } from "../ca-directory/postgres-log.js";
import { readProvedEntries, registryOf } from "../ca-directory/proved-ca.js";
import { isRegistryHomeThere, makeRegistryHome, removeRegistryHome } from "../ca-directory/registry-home.js";
import type { RegistryKind, RegistryPlace } from "../ca-directory/registry-kinds.js";
import { registryParts } from "../ca-directory/registry-parts.js";
import type { CaContext } from "./context.js";
import { addSnapshot } from "./shared-registry.js";

export interface MovedRegistry {
  readonly from: RegistryPlace;
  readonly to: RegistryPlace;
  readonly names: number;
  /** Whether another run moved it, and was stopped before it had removed the old one. */
  readonly isTidied: boolean;
}

export interface MoveOptions {
  /** Holds the URL of the PostgreSQL database; left out where the environment or an earlier command told it. */
  readonly urlFile?: string;
  /** Leave a database that is lost: what other machines did that this one has not seen is lost with it. */
  readonly withoutDatabase?: boolean;
  /** Also when the database answers and is sound. */
  readonly isForced?: boolean;
}

/**
 * @throws HawserError `CA_CORRUPT` (an entry is not what the CA wrote: nothing is moved), `STORAGE_FULL`, `STORAGE_FAILED`,
 *   `SQLITE_MISSING`, `POSTGRES_MISSING`, `REGISTRY_AWAY`, `REGISTRY_IN_USE` (the database to be left as lost is sound), and those of
 *   every change
 */
export async function moveRegistry(
  ca: CaContext,
  to: RegistryPlace,
  { urlFile, withoutDatabase = false, isForced = false }: MoveOptions = {},
): Promise<MovedRegistry> {
  const { store } = ca;
  if (to === "postgres") return share(ca, urlFile);
  if (withoutDatabase && !isForced) await refuseSound(store);
  const moving = (withoutDatabase ? store.changeHere.bind(store) : store.change.bind(store))((draft) => {
    const { files } = store;
    const { kind } = files.parts;
    const isShared = files.state.log !== undefined;
    const moved = { from: isShared ? ("postgres" as const) : kind, to, names: draft.entries.size };
    const { machine } = draft;
    if (isShared) leaveLog(draft);
    if (kind !== to) draft.nextRegistry = copyTo(files, to);
    const event = withoutDatabase ? "registry-moved-alone" : "registry-moved";
    // By the machine's name it knows its own change again, should it be stopped before it has written that.
    if (isShared || kind !== to) draft.record({ event, ...moved, ...(machine === undefined ? {} : { machine }) });
    return moved;
  });
  // Whether it was moved or not, one home is enough: where it is known which one counts.
  const isLeft = await moving.then(
    () => store.change(() => removeOthers(store)),
    async () => (await store.logProblem()) === undefined && store.change(() => removeOthers(store)).catch(() => false),
  );
  const moved = await moving;
  return { ...moved, isTidied: isLeft && moved.from === to };
}

/** What a sound database says of a machine that cannot follow it. */
const SOUND = ["PASSPHRASE_CHANGED", "REGISTRY_BEHIND", "REGISTRY_MOVED"];

/** Other machines go on with a sound database: one more registry would know of their revocations no more than they of its own. */
async function refuseSound(store: CaContext["store"]): Promise<void> {
  const { log } = store.files.state;
  const problem = await store.logProblem();
  if (log === undefined || (problem !== undefined && !SOUND.includes(problem.code))) return;
  throw new HawserError(
    "REGISTRY_IN_USE",
    `the database with the registry of ${store.directory} is not lost: it answers, and what it has is of this CA${problem === undefined ? "" : ` (${problem.message})`}`,
    problem?.nextStep ??
      "Leave out --without-database. To make a registry that knows nothing of what the other machines do: --without-database --force",
  );
}

function copyTo(files: CaContext["store"]["files"], to: RegistryKind): ReturnType<typeof registryOf> {
  const entries = readProvedEntries(files);
  const next = registryOf(registryParts(files.directory, to), entries, files.state.registry);
  makeRegistryHome(
    files.directory,
    to,
    new Map([
      ...[...entries].map(([name, { text }]) => [entryFile(name), text] as const),
      ...[...next.files].map(([file, text]) => [file, Buffer.from(text, "utf8")] as const),
    ]),
  );
  return next;
}

/** Brokers of other machines are theirs no more than this CA's. */
function leaveLog(draft: Draft): void {
  draft.nextLog = null;
  const here = outputsHere(readOutputs(draft), draft.machine);
  draft.write(FILES.outputs, outputsText(here.map(({ machine: _before, ...output }) => output)));
}

async function share(ca: CaContext, urlFile: string | undefined): Promise<MovedRegistry> {
  const { store } = ca;
  const address = databaseAddress(store.directory, urlFile);
  const moved = await store.change(async (draft) => {
    const { files } = store;
    const from = files.state.log === undefined ? files.parts.kind : ("postgres" as const);
    const names = draft.entries.size;
    if (from === "postgres") return { from, names };
    const log = randomBytes(16).toString("hex");
    await new PostgresLog(address, log).prepare();
    const { machine } = writeDatabaseFile(store.directory, urlFile);
    draft.nextLog = log;
    const outputs = readOutputs(draft);
    if (outputs.length > 0) draft.write(FILES.outputs, outputsText(outputs.map((output) => ({ ...output, machine }))));
    draft.record({ event: "registry-moved", from, to: "postgres", names, log });
    return { from, names };
  });
  // Without one no other machine can join; an earlier run may have been stopped before it.
  const isMissing = (await store.log?.head())?.snapshotRevision === undefined;
  if (isMissing) await addSnapshot(ca);
  return { ...moved, to: "postgres", isTidied: isMissing && moved.from === "postgres" };
}

/** Within a change, as another process may move the registry back meanwhile. */
function removeOthers({ files, directory }: CaContext["store"]): boolean {
  const other = files.parts.kind === "files" ? "sqlite" : "files";
  const isLeft = isRegistryHomeThere(directory, other);
  if (isLeft) removeRegistryHome(directory, other);
  if (files.state.log === undefined) forgetDatabase(directory);
  return isLeft;
}
