/** A terminal taken for a while: drawn on line by line, and then as before. */
import type { PromptInput } from "../../sim/node/vault/passphrase.js";
import type { Screen } from "./terminal.js";

const ALTERNATE_SCREEN = "\u001b[?1049h\u001b[H\u001b[2J";
const FORMER_SCREEN = "\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_REST_OF_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

export class FullScreen {
  readonly #screen: Screen;
  readonly #keyboard: PromptInput | undefined;
  readonly #onKeys: (chunk: Buffer) => void;
  readonly #restore = (): void => this.#screen.write(FORMER_SCREEN);

  /** @param onKeys told what is typed, Ctrl-C too; never without a keyboard */
  constructor(screen: Screen, keyboard: PromptInput | undefined, onKeys: (chunk: Buffer) => void) {
    this.#screen = screen;
    this.#keyboard = keyboard;
    this.#onKeys = onKeys;
    screen.write(ALTERNATE_SCREEN);
    // A defect must not leave the terminal like that.
    process.once("exit", this.#restore);
    keyboard?.setRawMode(true);
    keyboard?.on("data", onKeys);
    keyboard?.resume();
  }

  /** @param lines that fit, without line ends */
  draw(lines: readonly string[]): void {
    this.#screen.write(`${HOME}${lines.map((line) => `${line}${CLEAR_REST_OF_LINE}`).join("\r\n")}${CLEAR_BELOW}`);
  }

  /** Gives the terminal back. Call it once. */
  leave(): void {
    this.#keyboard?.off("data", this.#onKeys);
    this.#keyboard?.setRawMode(false);
    this.#keyboard?.pause();
    process.off("exit", this.#restore);
    this.#restore();
  }
}
