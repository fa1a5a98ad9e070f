/** A map that takes no memory before its first entry: a client has many tables, and of most clients nearly all stay empty. */
export class LazyMap<K, V> {
  #entries: Map<K, V> | undefined;

  get size(): number {
    return this.#entries?.size ?? 0;
  }

  get(key: K): V | undefined {
    return this.#entries?.get(key);
  }

  has(key: K): boolean {
    return this.#entries?.has(key) ?? false;
  }

  set(key: K, value: V): void {
    (this.#entries ??= new Map()).set(key, value);
  }

  /** True when it was there. */
  delete(key: K): boolean {
    return this.#entries?.delete(key) ?? false;
  }

  clear(): void {
    this.#entries = undefined;
  }

  /** In the order in which they were set. */
  values(): Iterable<V> {
    return this.#entries?.values() ?? [];
  }

  keys(): Iterable<K> {
    return this.#entries?.keys() ?? [];
  }

  entries(): Iterable<[K, V]> {
    return this.#entries?.entries() ?? [];
  }
}
