/** Topic filters as sets of topics. A level with %u or %c stands for one name that is not known here. */

const NAME = "\u0000name";

function levelsOf(filter: string): string[] {
  return filter.split("/").map((level) => (/%[uc]/.test(level) ? NAME : level));
}

/** Whether every topic of `inner` is one of `outer`. */
export function covers(outer: string, inner: string): boolean {
  if (isDollar(outer) !== isDollar(inner)) return false;
  const [a, b] = [levelsOf(outer), levelsOf(inner)];
  for (let index = 0; ; index += 1) {
    const [x, y] = [a[index], b[index]];
    if (x === "#") return true;
    if (x === undefined || y === undefined) return x === y;
    if (y === "#") return false;
    if (x !== "+" && x !== y) return false;
  }
}

/** Whether some topic belongs to both, whatever the names are. */
export function overlaps(left: string, right: string): boolean {
  if (isDollar(left) !== isDollar(right)) return false;
  const [a, b] = [levelsOf(left), levelsOf(right)];
  for (let index = 0; ; index += 1) {
    const [x, y] = [a[index], b[index]];
    if (x === "#" || y === "#") return true;
    if (x === undefined || y === undefined) return x === y;
    if (x !== "+" && y !== "+" && x !== y) return false;
  }
}

export function hasWildcard(filter: string): boolean {
  return filter.split("/").some((level) => level === "#" || level === "+");
}

/** `#`, `+/#` and their like: topics of everybody, whatever the layout. */
export function isEverything(filter: string): boolean {
  return /^(\+\/)*#$/.test(filter) || /^\+(\/\+)*$/.test(filter);
}

function isDollar(filter: string): boolean {
  return filter.startsWith("$");
}

/** The MQTT rule: # alone and last, + alone in its level. */
export function isValidFilter(filter: string): boolean {
  const levels = filter.split("/");
  return (
    filter !== "" &&
    levels.every((level, index) =>
      level.includes("#") ? level === "#" && index === levels.length - 1 : !level.includes("+") || level === "+",
    )
  );
}
