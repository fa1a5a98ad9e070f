/** The bench's table and its last lines: what was to be reached, and whether it was. */
import type { Result } from "./measure.js";

export interface Target {
  name: string;
  isMet: boolean;
  /** One line for people. */
  text: string;
}

const NAME_WIDTH = 46;

export function heading(rounds: number): string {
  return `${`median of ${rounds} rounds`.padEnd(NAME_WIDTH)}${"Hawser".padStart(12)}${"MQTT.js".padStart(12)}   ratio (spread)`;
}

export function tableLines(result: Result): string[] {
  const { name, what, hawser, theirs, ratio, smallestRatio, largestRatio, floor, rival } = result;
  const spread = `${ratio.toFixed(2)} (${smallestRatio.toFixed(2)}..${largestRatio.toFixed(2)})`;
  const line = (label: string, value: number, end: string): string =>
    `${label.padEnd(NAME_WIDTH)}${amount(value, what)}${amount(theirs, what)}   ${end}`;
  const lines = [line(`${name}, ${what}`, hawser, rival === "MQTT.js" ? spread : `${spread}, ${rival}`)];
  if (floor !== undefined && rival === "MQTT.js") lines.push(line("  floor: raw socket", floor, (floor / theirs).toFixed(2)));
  return lines;
}

function amount(value: number, what: Result["what"]): string {
  return (what === "heap" || what === "RSS" ? `${(value / 1_024).toFixed(2)} KiB` : `${value.toFixed(2)} us`).padStart(12);
}

export function targetsOf(results: readonly Result[]): Target[] {
  return results.filter(({ target, rival }) => target !== undefined && rival === "MQTT.js").map(targetOf);
}

function targetOf(result: Result): Target {
  const { what, hawser, ratio, target = { ratio: 1 } } = result;
  const name = `${result.name}, ${what}`;
  if ("micros" in target)
    return { name, isMet: hawser <= target.micros, text: `${name}: ${hawser.toFixed(0)} us, at most ${target.micros} us` };
  const isMet = ratio <= target.ratio;
  const text = `${name}: ${ratio.toFixed(2)} of MQTT.js, at most ${target.ratio}`;
  return { name, isMet, text: isMet ? text : text + floorRemark(result) };
}

/** Of a miss: how much of it no client could save. */
function floorRemark({ hawser, theirs, floor }: Result): string {
  if (floor === undefined) return "";
  const above = (hawser - floor) / (theirs - floor);
  return `; the raw socket alone takes ${(floor / theirs).toFixed(2)}, above it Hawser takes ${above.toFixed(2)} of what MQTT.js does`;
}
