/** The bench's command line: measures what is asked for and prints it. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { errorCode } from "../../sdk/errors.js";
import { CommandLine, errorText, rangeText, type Range } from "../../sim/virtual/cli/arguments.js";
import { Measuring, type Result } from "./measure.js";
import { startPeers } from "./peers.js";
import { heading, tableLines, targetsOf } from "./bench-report.js";
import { FULL, QUICK, rowsOf, type Row, type Settings } from "./rows.js";

const COMMAND_LINE = new CommandLine("npm run bench");

/** As many connections as there are ports for on one address, with some to spare. */
const RANGES = {
  rounds: { lowest: 1, highest: 1_000 },
  messages: { lowest: 1, highest: 10_000_000 },
  connections: { lowest: 1, highest: 20_000 },
} as const satisfies { [name in keyof Settings]?: Range };

const HELP = `npm run bench -- [options]
  --quick            fewer rounds, messages and connections
  --only TEXT        only rows whose name contains TEXT, as in "QoS 1, 1 KiB, plain, sink"
  --json             one JSON object instead of the table
  --rounds N         ${rangeText(RANGES.rounds)}, instead of ${FULL.rounds}
  --messages N       ${rangeText(RANGES.messages)}, instead of ${FULL.messages.toLocaleString("en-US")}
  --connections N    ${rangeText(RANGES.connections)}, instead of ${FULL.connections.toLocaleString("en-US")}

Exit codes: 0 measured; 1 failed; 2 a bad command line
`;

const OPTIONS = {
  quick: { type: "boolean" },
  only: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  rounds: { type: "string" },
  messages: { type: "string" },
  connections: { type: "string" },
} as const;

/** Sets the exit code. */
export async function bench(args: readonly string[]): Promise<void> {
  try {
    await measure(args);
  } catch (error) {
    process.stderr.write(errorText(error));
    process.exitCode = errorCode(error) === "BAD_ARGUMENT" ? 2 : 1;
  }
}

async function measure(args: readonly string[]): Promise<void> {
  const { values } = COMMAND_LINE.parse({ args: [...args], options: OPTIONS });
  if (values.help === true) return void process.stdout.write(HELP);
  const settings = settingsOf(values.quick === true ? QUICK : FULL, values);
  const rows = rowsAskedFor(settings, values.only ?? "");
  const say = (line: string): void => void (values.json === true || process.stdout.write(`${line}\n`));
  say(heading(settings.rounds));
  const loadBefore = loadavg()[0];
  const results = await measureAll(rows, settings.rounds, (result) => tableLines(result).forEach(say));
  const targets = targetsOf(results);
  if (targets.length > 0) say("\nto be reached");
  for (const { isMet, text } of targets) say(`${isMet ? "met   " : "missed"}  ${text}`);
  if (values.json !== true) return;
  const machine = { node: process.version, cores: cpus().length, cpu: cpus()[0]?.model, loadBefore, loadAfter: loadavg()[0] };
  process.stdout.write(`${JSON.stringify({ machine, mqttJs: mqttJsVersion(), settings, results, targets }, null, 2)}\n`);
}

async function measureAll(rows: readonly Row[], rounds: number, onResult: (result: Result) => void): Promise<Result[]> {
  const peers = await startPeers(rows.some(({ peer }) => peer === "mosquitto"));
  const measuring = new Measuring(peers, rounds);
  const results: Result[] = [];
  try {
    for (const [n, row] of rows.entries()) {
      progress(`[${n + 1}/${rows.length}] ${row.name}`);
      const found = await measuring.row(row);
      progress("");
      found.forEach(onResult);
      results.push(...found);
    }
  } finally {
    await measuring.stop();
    await peers.stop();
  }
  return results;
}

/** One line that is written over, for whoever looks on. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

function rowsAskedFor(settings: Settings, only: string): Row[] {
  const rows = rowsOf(settings, only);
  if (rows.length > 0) return rows;
  const names = rowsOf(settings, "").map(({ name }) => name);
  const parts = [...new Set(names.flatMap((name) => name.split(", ")))];
  throw COMMAND_LINE.bad(
    `the name of no row contains ${JSON.stringify(only)}; a name is, for one, "${names[0]}"`,
    `Give some of these, as in the name: ${parts.join(", ")}`,
  );
}

function settingsOf(usual: Settings, given: { readonly [name in keyof typeof RANGES]?: string | undefined }): Settings {
  const settings = { ...usual };
  for (const name of ["rounds", "messages", "connections"] as const) {
    const text = given[name];
    if (text !== undefined) settings[name] = COMMAND_LINE.wholeNumber(`--${name}`, text, RANGES[name]);
  }
  return settings;
}

function mqttJsVersion(): string {
  const file = createRequire(import.meta.url).resolve("mqtt/package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
