/** What `npm run world` was asked for. */
import { HawserError } from "../../../sdk/errors.js";
import type { FaultKind } from "../faults/fault-kind.js";
import { FAULT_KINDS } from "../faults/fault-plan.js";

export interface WorldCommand {
  /** `xs`: every world on both engines, and the logs compared. */
  engine: "node" | "xs";
  command: "run" | "storm" | "mutations" | "power-cuts" | "help";
  /** The first seed; further ones count up from it. */
  seed: number;
  seeds: number;
  devices: number;
  days: number;
  faults: readonly FaultKind[];
  timeline: boolean;
  json: boolean;
}

export const USAGE = `npm run world -- [COMMAND] [OPTIONS]

Commands:
  run          (default) worlds with faults, every invariant checked
  storm        10,000 devices after an outage: four reconnect policies compared
  power-cuts   a power cut at every write, and at every pair of writes
  mutations    deliberate faults in copies of the core, each to be found by an invariant

Options of run (the seed also counts for storm):
  --seed S        first seed, a whole number (default 1)
  --seeds N       so many seeds, counting up (default 1)
  --devices N     devices in each world (default 1)
  --days D        days with faults in each world (default 1)
  --faults LIST   all (default), none, or kinds separated by commas
  --timeline      print what happened, line by line
  --json          one JSON object instead of text
  --engine E      node (default), or xs: play each world on Node and on the XS engine and compare the two event logs byte for byte;
                  ends with 1 and the first line that differs when they are not equal; XS takes about eight times as long as Node

Kinds of faults: ${FAULT_KINDS.map((kind) => kind.name).join(", ")}

Example: npm run world -- --seed 42 --devices 3 --days 2 --faults all --timeline
`;

const COMMANDS = ["run", "storm", "mutations", "power-cuts", "help"] as const;

/** @throws HawserError `BAD_ARGUMENT` */
export function parseWorldCommand(words: readonly string[]): WorldCommand {
  const parsed: WorldCommand = { command: "run", engine: "node", seed: 1, seeds: 1, devices: 1, days: 1, faults: FAULT_KINDS, timeline: false, json: false };
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === "--help" || word === "-h") parsed.command = "help";
    else if (word === "--timeline" || word === "--json") parsed[word === "--json" ? "json" : "timeline"] = true;
    else if (word === "--seed") parsed.seed = wholeNumber(word, rest.shift(), 0);
    else if (word === "--seeds") parsed.seeds = wholeNumber(word, rest.shift(), 1);
    else if (word === "--devices") parsed.devices = wholeNumber(word, rest.shift(), 1);
    else if (word === "--engine") parsed.engine = engine(rest.shift());
    else if (word === "--days") parsed.days = days(rest.shift());
    else if (word === "--faults") parsed.faults = faults(rest.shift());
    else parsed.command = commandOf(word);
  }
  if (parsed.engine === "xs" && parsed.command !== "run" && parsed.command !== "help") throw bad(`--engine xs goes with run, not with ${parsed.command}`);
  if (parsed.engine === "xs" && parsed.timeline) throw bad("--timeline does not go with --engine xs, which shows the first line that differs");
  return parsed;
}

function engine(text: string | undefined): "node" | "xs" {
  if (text !== "node" && text !== "xs") throw bad("--engine needs node or xs");
  return text;
}

function commandOf(word: string): WorldCommand["command"] {
  const found = COMMANDS.find((command) => command === word);
  if (!found) throw bad(`${JSON.stringify(word)} is neither a command nor an option`);
  return found;
}

function wholeNumber(option: string, text: string | undefined, lowest: number): number {
  const value = Number(text);
  if (!text || !Number.isSafeInteger(value) || value < lowest) throw bad(`${option} needs a whole number of at least ${lowest}`);
  return value;
}

function days(text: string | undefined): number {
  const value = Number(text);
  if (!text || !(value > 0) || value > 36_500) throw bad("--days needs a number above 0");
  return value;
}

function faults(text: string | undefined): readonly FaultKind[] {
  if (text === undefined || text === "") throw bad("--faults needs all, none, or a list of kinds");
  if (text === "all") return FAULT_KINDS;
  if (text === "none") return [];
  return text.split(",").map((name) => {
    const kind = FAULT_KINDS.find((one) => one.name === name);
    if (!kind) throw bad(`there is no kind of fault called ${JSON.stringify(name)}`);
    return kind;
  });
}

function bad(what: string): HawserError {
  return new HawserError("BAD_ARGUMENT", what, "See npm run world -- --help.");
}
