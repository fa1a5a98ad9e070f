/** mosquitto's versions, as far as a verdict depends on them. */
import { spawnSync } from "node:child_process";
import { HawserError } from "../../../sdk/errors.js";

/** Debian 12's, the oldest whose every verdict was tried. */
export const OLDEST_TRIED = "2.0.11";

export class MosquittoVersion {
  readonly #parts: readonly [number, number, number];

  private constructor(
    readonly text: string,
    parts: readonly [number, number, number],
  ) {
    this.#parts = parts;
  }

  /**
   * Reads `2`, `2.0`, `2.0.11` or `2.1.2`; of a series without a patch level the newest counts, except for `2` and `2.0`, where 2.0.11
   * does.
   * @throws HawserError `BAD_VERSION`
   */
  static parse(text: string): MosquittoVersion {
    const match = /^(?:v|mosquitto[ -]?)?(\d{1,3})(?:\.(\d{1,3}))?(?:\.(\d{1,3}|x))?/.exec(text.trim());
    if (match === null)
      throw new HawserError("BAD_VERSION", `invalid version ${JSON.stringify(text)}`, "Use a version such as 2.0.11, 2.0.21 or 2.1.");
    const minor = Number(match[2] ?? 0);
    const patch = match[3] === undefined || match[3] === "x" ? (Number(match[1]) === 2 && minor === 0 ? 11 : 99) : Number(match[3]);
    return new MosquittoVersion(text.trim(), [Number(match[1]), minor, patch]);
  }

  atLeast(major: number, minor: number, patch = 0): boolean {
    const wanted = [major, minor, patch];
    for (let index = 0; index < 3; index += 1) {
      const difference = (this.#parts[index] ?? 0) - (wanted[index] ?? 0);
      if (difference !== 0) return difference > 0;
    }
    return true;
  }
}

/** The version of the mosquitto on this machine's PATH. */
export function installedMosquittoVersion(): string | undefined {
  const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
  const { stdout } = spawnSync("mosquitto", ["-h"], { env: { PATH: path }, encoding: "utf8", timeout: 5_000 });
  return /mosquitto version (\d+\.\d+\.\d+)/.exec(stdout ?? "")?.[1];
}
