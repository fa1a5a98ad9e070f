/** The public keys that tokens are judged by, as the decision point hands them out. */
import { setImmediate } from "node:timers/promises";
import type { PolicyEngine } from "../policy/policy-engine.js";
import { keysOf } from "../policy/key-set.js";
import type { NameDirectory } from "../policy/policy-model.js";

/**
 * The key set of all names, in pieces, or that of one.
 *
 * @param rest of the path: nothing, or `/NAME`
 * @returns undefined for a name that nobody has
 */
export function keysText({ directory }: PolicyEngine, rest: string): Iterable<string> | AsyncIterable<string> | undefined {
  if (rest === "") return keySetText(directory);
  const one = rest.startsWith("/") ? directory.get(rest.slice(1)) : undefined;
  return one === undefined ? undefined : [JSON.stringify({ keys: keysOf(one) })];
}

/** Names between two turns of the event loop: to read a certificate takes some dozens of microseconds, and brokers wait for answers. */
const NAMES_AT_ONCE = 50;

/** The set of all names as JSON, in pieces. */
async function* keySetText(names: NameDirectory): AsyncGenerator<string> {
  let [separator, count] = ["", 0];
  yield '{"keys":[';
  for (const principal of names.all()) {
    for (const key of keysOf(principal)) {
      yield separator + JSON.stringify(key);
      separator = ",";
    }
    count += 1;
    if (count % NAMES_AT_ONCE === 0) await setImmediate();
  }
  yield "]}";
}
