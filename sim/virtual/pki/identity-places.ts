/**
 * Where devices ask for certificates, as a policy has it that somebody moves (docs/policy.md, "Moving the identity topics"): old and new
 * are served together until the device was heard at the new one.
 */

interface Places {
  /** Where the authority is asked, and the broker lets the device. */
  readonly served: readonly string[];
  /** What the device is told with its next certificate. */
  readonly told: string;
}

export class IdentityPlaces {
  readonly #places = new Map<string, Places>();
  #moves = 0;

  #of(id: string): Places {
    const usual = `devices/${id}/identity`;
    return this.#places.get(id) ?? { served: [usual], told: usual };
  }

  served(id: string): readonly string[] {
    return this.#of(id).served;
  }

  /** What an answer with a certificate says; nothing for a device that was never moved: earlier authorities say nothing either. */
  told(id: string): { topics?: { base: string; identity: string } } {
    return this.#places.has(id) ? { topics: { base: `devices/${id}`, identity: this.#of(id).told } } : {};
  }

  move(id: string): void {
    const told = `place-${++this.#moves}/${id}/identity`;
    this.#places.set(id, { told, served: [told, ...this.served(id)] });
  }

  /** The device is told a place that no broker lets it use. @returns what ends it */
  misguide(id: string): () => void {
    const before = this.#of(id);
    this.#places.set(id, { ...before, told: `nowhere/${id}/identity` });
    return () => void this.#places.set(id, { ...this.#of(id), told: before.told });
  }

  /** The device has reported its certificate in use here. Where it was told to be, it needs the places of before no more. */
  reportedAt(id: string, base: string): void {
    const { told } = this.#of(id);
    if (base === told) this.#places.set(id, { told, served: [told] });
  }
}
