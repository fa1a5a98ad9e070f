/** The figures of one or many worlds, added up and written out. */
import { clock } from "../world/chronicle.js";
import type { WorldResult } from "../world/world.js";

export interface Figures {
  seeds: number;
  firstSeed: string;
  lastSeed: string;
  deviceDays: number;
  faults: Record<string, number>;
  faultsTotal: number;
  attempts: number;
  connections: number;
  rotations: number;
  boots: number;
  messagesUp: number;
  messagesDown: number;
  flashWrites: number;
  worstBackOnlineMs: number;
  worstAfter: string;
  worstSeed: string;
  brokenSeeds: string[];
}

export function addUp(results: readonly WorldResult[]): Figures {
  const sum = (of: (result: WorldResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const faults: Record<string, number> = {};
  for (const result of results) for (const [kind, count] of Object.entries(result.faults)) faults[kind] = (faults[kind] ?? 0) + count;
  const worst = results.reduce((one, other) => (other.worstBackOnlineMs > one.worstBackOnlineMs ? other : one));
  return {
    seeds: results.length,
    firstSeed: results[0]?.seed ?? "",
    lastSeed: results[results.length - 1]?.seed ?? "",
    deviceDays: sum((result) => result.deviceDays),
    faults: Object.fromEntries(Object.entries(faults).sort(([a], [b]) => (a < b ? -1 : 1))),
    faultsTotal: Object.values(faults).reduce((total, count) => total + count, 0),
    attempts: sum((result) => result.attempts),
    connections: sum((result) => result.connections),
    rotations: sum((result) => result.rotations),
    boots: sum((result) => result.boots),
    messagesUp: sum((result) => result.messagesUp),
    messagesDown: sum((result) => result.messagesDown),
    flashWrites: sum((result) => result.flashWrites),
    worstBackOnlineMs: worst.worstBackOnlineMs,
    worstAfter: worst.worstAfter,
    worstSeed: worst.seed,
    brokenSeeds: results.filter((result) => result.violations.length > 0).map((result) => result.seed),
  };
}

export function figuresText(figures: Figures): string {
  const number = (value: number): string => Math.round(value).toLocaleString("en-US");
  const lines = [
    `seeds               ${figures.firstSeed}..${figures.lastSeed} (${number(figures.seeds)})`,
    `device-days         ${number(figures.deviceDays)}`,
    `faults              ${number(figures.faultsTotal)}`,
    ...Object.entries(figures.faults).map(([kind, count]) => `  ${kind.padEnd(28)}${number(count).padStart(9)}`),
    `attempts            ${number(figures.attempts)}`,
    `connections         ${number(figures.connections)}`,
    `power-ons           ${number(figures.boots)}`,
    `rotations           ${number(figures.rotations)}`,
    `messages up, down   ${number(figures.messagesUp)}, ${number(figures.messagesDown)}`,
    `flash writes        ${number(figures.flashWrites)}`,
    `worst time back     ${clock(figures.worstBackOnlineMs)} after ${figures.worstAfter} (seed ${figures.worstSeed})`,
    `invariants broken   ${figures.brokenSeeds.length === 0 ? "none" : `in seeds ${figures.brokenSeeds.join(", ")}`}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** What broke in one world, with the lines that led to it and the command that shows it again. */
export function violationText(result: WorldResult, command: string): string {
  const broken = result.violations
    .slice(0, 5)
    .map(
      ({ atMs, invariant, device, what, where }) =>
        `  ${clock(atMs)} ${device} ${invariant}: ${what}${where === undefined ? "" : ` ${where}`}`,
    );
  return `seed ${result.seed} broke ${result.violations.length} invariant(s):\n${broken.join("\n")}\n  again: ${command}\n`;
}
