/**
 * Names that differ only in the case of their letters: many file systems, databases and people take them for one, so a CA has only one of
 * them.
 */
import { HawserError } from "../../sdk/errors.js";

export class CaseTwins {
  readonly #names = new Map<string, string>();

  /** @param names of the registry as it is; for one name alone, {@link refuseCaseTwin} is cheaper */
  constructor(names: Iterable<string>) {
    for (const name of names) this.#names.set(name.toLowerCase(), name);
  }

  /**
   * Takes a name that is about to be used for the first time.
   * @throws HawserError `ID_EXISTS`
   */
  add(name: string): void {
    const twin = this.#names.get(name.toLowerCase());
    if (twin !== undefined && twin !== name) throw isTaken(name, twin);
    this.#names.set(name.toLowerCase(), name);
  }
}

/**
 * @param twin a name that differs from `name` only in case
 * @throws HawserError `ID_EXISTS` when there is one
 */
export function refuseCaseTwin(twin: string | undefined, name: string): void {
  if (twin !== undefined) throw isTaken(name, twin);
}

function isTaken(name: string, twin: string): HawserError {
  return new HawserError("ID_EXISTS", `the name ${name} differs from ${twin}, which is taken, only in case`, "Choose another id.");
}
