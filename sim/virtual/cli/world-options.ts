/** What `npm run world` was asked for. */
import type { FaultKind } from "../faults/fault-kind.js";
import { FAULT_KINDS } from "../faults/fault-plan.js";
import { CommandLine, rangeText, type Range } from "./arguments.js";

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

const COMMANDS = ["run", "storm", "mutations", "power-cuts", "help"] as const;
const FAULT_NAMES = FAULT_KINDS.map((kind) => kind.name).join(", ");

const SEED: Range = { lowest: 0, highest: 1e15 };
const SEEDS: Range = { lowest: 1, highest: 100_000 };
/** Beyond some hundred, what devices cost one another grows faster than their number: 100 take 6 s before the first day, 400 take 48. */
const DEVICES: Range = { lowest: 1, highest: 1_000 };
/** Plays no devices that keep anything. */
const STORM_DEVICES: Range = { lowest: 1, highest: 10_000 };
const DAYS: Range = { lowest: 0.001, highest: 365 };
/** A device-day takes about half a second, and 2 to 4 MB until its world ends. */
const MOST_DEVICE_DAYS = 1_000;

export const USAGE = `npm run world -- [COMMAND] [OPTIONS]

Commands:
  run          (default) worlds with faults, every invariant checked
  storm        10,000 devices after an outage: four reconnect policies compared
  power-cuts   a power cut at every write, and at every pair of writes
  mutations    deliberate faults in copies of the core, each to be found by an invariant

Options of run (the seed also counts for storm):
  --seed S        first seed, a whole number ${rangeText(SEED)} (default 1)
  --seeds N       so many seeds, counting up, ${rangeText(SEEDS)} (default 1)
  --devices N     devices in each world, ${rangeText(DEVICES)} (default 1)
  --days D        days with faults in each world, ${rangeText(DAYS)} (default 1); devices times days: at most ${MOST_DEVICE_DAYS.toLocaleString("en-US")}
  --faults LIST   all (default), none, or kinds separated by commas
  --timeline      print what happened, line by line
  --json          one JSON object instead of text
  --engine E      node (default), or xs: play each world on Node and on the XS engine and compare the two event logs byte for byte;
                  ends with 1 and the first line that differs when they are not equal; XS takes about eight times as long as Node

Kinds of faults: ${FAULT_NAMES}

Example: npm run world -- --seed 42 --devices 3 --days 2 --faults all --timeline
`;

const COMMAND_LINE = new CommandLine("npm run world");

const TEXT = { type: "string" } as const;
const FLAG = { type: "boolean", default: false } as const;
const OPTIONS = {
  seed: TEXT,
  seeds: TEXT,
  devices: TEXT,
  days: TEXT,
  faults: TEXT,
  engine: TEXT,
  timeline: FLAG,
  json: FLAG,
  help: { ...FLAG, short: "h" },
} as const;

/** @throws HawserError `BAD_ARGUMENT` */
export function parseWorldCommand(words: readonly string[]): WorldCommand {
  const { values, positionals } = COMMAND_LINE.parse({ args: [...words], options: OPTIONS, allowPositionals: true });
  const command = values.help ? "help" : commandOf(positionals);
  const asked: WorldCommand = {
    command,
    engine: engineOf(values.engine ?? "node"),
    seed: COMMAND_LINE.wholeNumber("--seed", values.seed ?? "1", SEED),
    seeds: COMMAND_LINE.wholeNumber("--seeds", values.seeds ?? "1", SEEDS),
    devices: COMMAND_LINE.wholeNumber("--devices", values.devices ?? "1", command === "storm" ? STORM_DEVICES : DEVICES),
    days: COMMAND_LINE.number("--days", values.days ?? "1", DAYS),
    faults: faultsOf(values.faults ?? "all"),
    timeline: values.timeline,
    json: values.json,
  };
  refuseWhatDoesNotGoTogether(asked);
  return asked;
}

function refuseWhatDoesNotGoTogether({ command, engine, devices, days, timeline }: WorldCommand): void {
  if (command === "run" && devices * days > MOST_DEVICE_DAYS) {
    const asked = `${devices.toLocaleString("en-US")} devices for ${days.toLocaleString("en-US")} days`;
    throw COMMAND_LINE.bad(
      `${asked} exceed the ${MOST_DEVICE_DAYS.toLocaleString("en-US")} device-days allowed in one world`,
      "Run more worlds instead: --seeds",
    );
  }
  if (engine === "xs" && command !== "run" && command !== "help") throw COMMAND_LINE.bad(`--engine xs goes with run, not with ${command}`);
  if (engine === "xs" && timeline)
    throw COMMAND_LINE.bad("--timeline does not go with --engine xs, which shows the first line that differs");
}

function engineOf(text: string): WorldCommand["engine"] {
  if (text !== "node" && text !== "xs") throw COMMAND_LINE.bad(`--engine wants node or xs, not ${JSON.stringify(text)}`);
  return text;
}

function commandOf([word = "run", ...more]: readonly string[]): WorldCommand["command"] {
  const found = COMMANDS.find((command) => command === word);
  if (!found) throw COMMAND_LINE.bad(`unknown command ${JSON.stringify(word)}; use ${COMMANDS.join(", ")}`);
  if (more.length > 0)
    throw COMMAND_LINE.bad(`one command at a time, not ${[word, ...more].map((one) => JSON.stringify(one)).join(" and ")}`);
  return found;
}

function faultsOf(list: string): readonly FaultKind[] {
  if (list === "all") return FAULT_KINDS;
  if (list === "none") return [];
  return list.split(",").map((name) => {
    const kind = FAULT_KINDS.find((one) => one.name === name);
    if (!kind)
      throw COMMAND_LINE.bad(`unknown fault ${JSON.stringify(name)}`, `Use all, none, or a comma-separated list of: ${FAULT_NAMES}`);
    return kind;
  });
}
