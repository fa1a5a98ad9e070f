/**
 * Which version of MQTT to speak when that is left to the device: 5.0, and 3.1.1 with a broker that does not know it. One that says so is
 * believed. Many older brokers say nothing and close the connection; so does a broker that is just going down. Plain state: what happened
 * goes in, the version comes out.
 */
import type { FailureCode } from "../failure.js";

/** Connections closed instead of an answer to 5.0 before 3.1.1 is tried. */
const CLOSED_BEFORE_TRY = 2;
/** So often has 3.1.1 to be accepted where 5.0 was not before it is taken for the broker's only one. */
const SURE_AFTER = 3;

const CLOSED: ReadonlySet<FailureCode> = new Set<FailureCode>(["CONNECTION_CLOSED", "CONNECTION_RESET"]);

export class VersionChoice {
  #version: 4 | 5;
  readonly #isOpen: boolean;
  /** It is the broker's, and stays. */
  #isSure = false;
  #closed = 0;
  #guessed = 0;

  constructor(asked: 4 | 5 | "auto") {
    this.#isOpen = asked === "auto";
    this.#version = asked === "auto" ? 5 : asked;
  }

  get version(): 4 | 5 {
    return this.#version;
  }

  /**
   * The broker accepted a connection in this version.
   * @returns true where that is 3.1.1 for want of an answer to 5.0
   */
  accepted(): boolean {
    const isGuess = this.#isOpen && !this.#isSure && this.#version === 4;
    // Where it closed 3.1.1 as well before, its closing says nothing about the version: a load balancer whose broker was away.
    if (isGuess && this.#closed === CLOSED_BEFORE_TRY) this.#guessed++;
    if (!isGuess || this.#guessed >= SURE_AFTER) {
      this.#isSure = true;
      return isGuess;
    }
    // Asked once more at the next connection: a broker that was only restarting must not cost a device 5.0 for years.
    this.#version = 5;
    this.#closed = CLOSED_BEFORE_TRY - 1;
    return true;
  }

  /**
   * An attempt ended.
   * @param wasOpened the link was up, so that it was the broker that did not want what came over it
   * @returns true when 3.1.1 has to be tried at once: the broker said that it does not know 5.0. Not a second time: one that takes neither
   *   is asked no more often
   *   than any other
   */
  failed(code: FailureCode, wasOpened: boolean): boolean {
    if (!this.#isOpen) return false;
    if (code === "UNSUPPORTED_PROTOCOL_VERSION") {
      const isFirst = this.#version === 5 && !this.#isSure;
      this.#version = this.#version === 5 ? 4 : 5;
      this.#isSure = true;
      return isFirst;
    }
    if (this.#isSure || !wasOpened || !CLOSED.has(code)) return false;
    this.#closed++;
    // In turns, until one is accepted: what closes the connections may have nothing to do with the version.
    this.#version = this.#version === 5 && this.#closed >= CLOSED_BEFORE_TRY ? 4 : 5;
    return false;
  }
}
