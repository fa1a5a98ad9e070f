/** What playing worlds on two engines showed, written out. */
import type { ComparedWorld, Difference } from "../../xs/compare-worlds.js";
import { addUp } from "./figures.js";

export function comparisonText(worlds: readonly ComparedWorld[], tookMs: number): string {
  const { faultsTotal, connections, rotations, boots, deviceDays } = addUp(worlds.map(({ result }) => result));
  const unequal = worlds.flatMap(({ result, difference }) => (difference ? [result.seed] : []));
  const sum = (of: (world: ComparedWorld) => number): number => worlds.reduce((total, world) => total + of(world), 0);
  const whole = (value: number): string => Math.round(value).toLocaleString("en-US");
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  const rows: [string, string][] = [
    ["seeds equal", `${worlds.length - unequal.length} of ${worlds.length}`],
    ["seeds unequal", unequal.join(", ") || "none"],
    ["lines compared", whole(sum(({ lines }) => lines))],
    ["device-days", deviceDays.toFixed(1)],
    ["faults", whole(faultsTotal)],
    ["connections", whole(connections)],
    ["power-ons", whole(boots)],
    ["rotations", whole(rotations)],
    ["time on Node, XS", `${seconds(sum(({ nodeMs }) => nodeMs))}, ${seconds(sum(({ xsMs }) => xsMs))}; ${seconds(tookMs)} in all`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(20)}${value}\n`).join("");
}

/** The first line in which the two logs of a seed differ. */
export function differenceText(seed: string, { line, before, node, xs }: Difference, command: string): string {
  const shown = (text: string | undefined): string => text ?? "(its log has ended)";
  return `seed ${seed} differs in line ${line}:\n  before  ${shown(before)}\n  Node    ${shown(node)}\n  XS      ${shown(xs)}\n  again: ${command}\n`;
}
