/** What a lean build does with the modules of a bundle. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../project-files.js";
import { internalNames } from "./internal-names.js";
import { leanSource } from "./lean-source.js";
import { TextTable, type LeanTexts } from "./text-table.js";

export class LeanModules {
  readonly internalNames: readonly string[];
  readonly #table = new TextTable();

  /** @param only leave out the other version of MQTT */
  constructor(
    entry: string,
    readonly only: 4 | 5 | undefined,
  ) {
    this.internalNames = internalNames(entry);
  }

  readonly rewrite = (source: string, path: string): string => {
    const isChoice = this.only !== undefined && path === join(packageRoot(), "sdk", "supervisor", "version-choice.ts");
    const taken = isChoice ? readFileSync(join(packageRoot(), "firmware", "build", "lean", "only-version.ts"), "utf8") : source;
    return leanSource(taken, { texts: this.#table, ...(this.only && { protocolVersion: this.only }) });
  };

  readonly texts = (): LeanTexts => this.#table.all;
}
