/** Names that differ only in the case of their letters. */

export function twinAmong(names: Iterable<string>, name: string): string | undefined {
  const folded = name.toLowerCase();
  for (const other of names) if (other.length === name.length && other !== name && other.toLowerCase() === folded) return other;
  return undefined;
}
