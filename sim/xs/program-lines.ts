/** Stacks of XS as Node writes them, with the lines of a product's program as its author wrote them. */
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, resolve } from "node:path";

export class ProgramLines {
  readonly #map: SourceMap;
  readonly #lines: readonly string[];

  /**
   * @param file path of the bundle, as the engine knows it
   * @param text of the bundle
   * @param map of the bundle; its sources are named from the bundle's folder
   */
  constructor(
    private readonly file: string,
    text: string,
    map: string,
  ) {
    this.#map = new SourceMap(JSON.parse(map) as SourceMapPayload);
    this.#lines = text.split("\n");
  }

  /** The stack with the program's frames in its own files, each as `at name (/path:line:1)`; frames of the SDK stay as they are. */
  written(stack: string): string {
    return stack
      .split("\n")
      .map((line) => {
        const frame = /^\s*at (.*?) ?\(?(\/[^()]*):(\d+)\)?$/.exec(line);
        if (frame?.[2] !== this.file) return line;
        const place = this.#placeOf(Number(frame[3]));
        return place === undefined ? line : `    at ${frame[1] || "<anonymous>"} (${place}:1)`;
      })
      .join("\n");
  }

  /** XS tells lines, not columns: the first that is mapped on a line is where its statement begins. */
  #placeOf(line: number): string | undefined {
    const column = /\S/.exec(this.#lines[line - 1] ?? "")?.index ?? 0;
    const entry = this.#map.findEntry(line - 1, column);
    if (!("originalSource" in entry)) return undefined;
    return `${resolve(dirname(this.file), entry.originalSource)}:${entry.originalLine + 1}`;
  }
}
