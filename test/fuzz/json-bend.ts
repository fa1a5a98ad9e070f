/** Bends JSON by its structure: values of other types, members gone, twice or elsewhere; and now and then by its bytes. */
import type { SeededRandom } from "../../sim/virtual/random.js";
import { byteBend, words } from "./bend.js";
import type { Bend } from "./fuzz-target.js";

const JSON_WORDS = words(
  "null",
  "true",
  "{}",
  "[]",
  '""',
  "-1",
  "1e999",
  "1e-400",
  '"__proto__":',
  '"\\u0000"',
  '"\\ud800"',
  "[[[[[[[[",
  '{"v":1}',
  "\\",
  '"',
  ",",
  ":",
  [0xef, 0xbb, 0xbf],
  [0xff],
);
const byBytes = byteBend(JSON_WORDS);

/** What nobody expects in the place of a value. */
const ODD: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  0.5,
  1,
  2,
  1e99,
  -1e99,
  2 ** 53,
  "",
  "a",
  "b",
  "constructor",
  "__proto__",
  "\u0000",
  "\ud800",
  "../../x",
  "+/#",
  "x".repeat(70),
  "é".repeat(40),
  [],
  [[]],
  {},
  { length: 1e9 },
];

export const jsonBend: Bend = (random, base, other) => {
  if (random.chance(0.3)) return byBytes(random, base, other);
  let value = parse(base);
  for (let left = random.between(1, 3); left > 0; left--) value = bendValue(random, value, parse(other));
  return new TextEncoder().encode(JSON.stringify(value));
};

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return {};
  }
}

function bendValue(random: SeededRandom, value: unknown, other: unknown): unknown {
  if (typeof value !== "object" || value === null || random.chance(0.1)) return odd(random, value, other);
  if (Array.isArray(value)) return bendList(random, value as unknown[], other);
  return Object.fromEntries(bendMembers(random, Object.entries(value), other));
}

function bendList(random: SeededRandom, list: readonly unknown[], other: unknown): unknown[] {
  const at = random.between(0, Math.max(0, list.length - 1));
  const kind = random.between(0, 3);
  if (kind === 0) return list.filter((_, index) => index !== at);
  if (kind === 1) return [...list, ...Array.from({ length: random.pick([1, 2, 5, 100]) }, () => list[at] ?? null)];
  return list.map((item, index) => (index === at ? bendValue(random, item, other) : item));
}

function bendMembers(random: SeededRandom, members: readonly [string, unknown][], other: unknown): [string, unknown][] {
  const at = random.between(0, Math.max(0, members.length - 1));
  const kind = random.between(0, 5);
  if (kind === 0) return members.filter((_, index) => index !== at);
  if (kind === 1 && typeof other === "object" && other !== null) return [...members, ...Object.entries(other as Record<string, unknown>)];
  return members.map(([name, value], index) => (index === at ? [name, bendValue(random, value, other)] : [name, value]));
}

function odd(random: SeededRandom, value: unknown, other: unknown): unknown {
  const kind = random.between(0, 4);
  if (kind === 0 && typeof value === "string")
    return value.slice(0, random.between(0, value.length)) + random.pick(["", "=", "A", " ", "é", "\u0000"]);
  if (kind === 1 && typeof value === "number") return value + random.pick([-1, 1, 0.5, 2 ** 32, -(2 ** 31)]);
  if (kind === 2) return other;
  return random.pick(ODD);
}
