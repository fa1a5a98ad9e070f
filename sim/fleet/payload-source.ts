/** Payloads drawn from a seed. Each begins with its number and the time it was made, which is what the watcher reads. */
import { SeededRandom } from "../virtual/random.js";
import type { FieldSpec, PublishProfile } from "./fleet-plan.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

export class PayloadSource {
  readonly #random: SeededRandom;

  constructor(
    private readonly profile: PublishProfile,
    seed: string,
  ) {
    this.#random = new SeededRandom(seed);
  }

  /** Milliseconds until the next message. */
  nextDelayMs(): number {
    const { everyMs, jitter } = this.profile;
    return everyMs * (1 + jitter * (this.#random.fraction() - 0.5) * 2);
  }

  /** How far into the interval this device begins. */
  firstDelayMs(): number {
    return this.profile.everyMs * this.#random.fraction();
  }

  next(n: number, sentMs: number): string {
    const fields = Object.entries(this.profile.fields ?? {}).map(
      ([name, spec]) => `,${JSON.stringify(name)}:${JSON.stringify(this.#draw(spec))}`,
    );
    const head = `{"n":${n},"sentMs":${sentMs.toFixed(3)}${fields.join("")}`;
    const [lowest, highest] = this.profile.sizeBytes;
    const missing = this.#random.between(lowest, highest) - Buffer.byteLength(head) - `,"pad":""}`.length;
    return missing < 0 ? `${head}}` : `${head},"pad":"${this.#letters(missing)}"}`;
  }

  #draw(spec: FieldSpec): string | number | boolean {
    if ("number" in spec) {
      const [lowest, highest] = spec.number;
      return Number((lowest + (highest - lowest) * this.#random.fraction()).toFixed(spec.decimals ?? 2));
    }
    if ("integer" in spec) return this.#random.between(...spec.integer);
    if ("oneOf" in spec) return this.#random.pick(spec.oneOf);
    return this.#letters(spec.text);
  }

  #letters(count: number): string {
    let text = "";
    for (let i = 0; i < count; i++) text += LETTERS[this.#random.next() % LETTERS.length] ?? "";
    return text;
  }
}

/** Number and time of a payload; undefined for one that no fleet made. */
export function readPayload(payload: Buffer): { n: number; sentMs: number } | undefined {
  const match = /^\{"n":(\d{1,15}),"sentMs":(\d{1,15}\.\d{3})[,}]/.exec(payload.subarray(0, 64).toString("latin1"));
  return match === null ? undefined : { n: Number(match[1]), sentMs: Number(match[2]) };
}

/** Wall time with the resolution of the monotonic clock, comparable between the processes of a machine. */
export function preciseNowMs(): number {
  return performance.timeOrigin + performance.now();
}
