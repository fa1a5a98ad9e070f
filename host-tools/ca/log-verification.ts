/** Whether the database of a shared registry has what a machine of it needs: every change since the snapshot, and the snapshot. */
import { openBackup } from "../ca-directory/backup-file.js";
import type { DerivedKey } from "../ca-directory/backup-file.js";
import { parseJournal } from "../ca-directory/change-journal.js";
import type { ChangeLog, LoggedChange } from "../ca-directory/change-log.js";
import type { ProvedFiles } from "../ca-directory/ca-files.js";
import { sha256, stateKey } from "../ca-directory/sealed-state.js";

/**
 * Each a sentence. Changes from before the last change of the passphrase are under another key: of those, that each follows from the one
 * before is all that can be said.
 *
 * @throws HawserError `REGISTRY_AWAY`
 */
export async function logProblems({ state, text }: ProvedFiles, log: ChangeLog, passphrase: string, known: DerivedKey): Promise<string[]> {
  const snapshot = await log.snapshot();
  const problems = snapshot === undefined ? ["the database has no snapshot, so that no machine can join"] : [];
  if (snapshot !== undefined && !opens(snapshot.bytes, passphrase, known)) problems.push("the snapshot in the database cannot be opened");
  const chain = new Chain(stateKey(known.sealing));
  await log.read(async ({ changesFrom }) => {
    let last = 0;
    for (;;) {
      const changes = (await changesFrom(last)).filter(({ revision }) => revision > last);
      for (const change of changes) chain.add(change);
      const newest = changes.at(-1);
      if (newest === undefined) return;
      last = newest.revision;
    }
  });
  problems.push(...chain.problems);
  const { first, states } = chain;
  if (snapshot !== undefined && first !== undefined && first > snapshot.revision + 1)
    problems.push(`the database lacks the changes from ${snapshot.revision + 1} to ${first - 1}, which follow its snapshot`);
  if (states.get(state.revision) !== sha256(text)) problems.push(`change ${state.revision} in the database is not the one here`);
  return problems;
}

function opens(bytes: Buffer, passphrase: string, known: DerivedKey): boolean {
  try {
    openBackup(bytes, passphrase, "", known);
    return true;
  } catch {
    return false;
  }
}

class Chain {
  readonly problems: string[] = [];
  readonly states = new Map<number, string>();
  first: number | undefined;
  #last: number | undefined;
  #isUnderThisKey = false;

  constructor(private readonly key: Uint8Array) {}

  add({ revision, state, text = "" }: LoggedChange): void {
    const journal = parseJournal(text, this.key);
    const isProved = typeof journal !== "string";
    if (!isProved && this.#isUnderThisKey) this.problems.push(`of change ${revision} in the database, ${journal}`);
    this.#isUnderThisKey ||= isProved;
    if (this.#last !== undefined && revision !== this.#last + 1)
      this.problems.push(`the database lacks the changes from ${this.#last + 1} to ${revision - 1}`);
    const before = this.states.get(revision - 1);
    if (isProved && before !== undefined && journal.base !== before)
      this.problems.push(`change ${revision} in the database does not follow from the one before it`);
    if (isProved && sha256(journal.state) !== state)
      this.problems.push(`change ${revision} in the database is not the one that it is said to be`);
    this.first ??= revision;
    this.#last = revision;
    this.states.set(revision, isProved ? sha256(journal.state) : state);
  }
}
