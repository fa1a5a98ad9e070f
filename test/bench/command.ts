/** The bench's command line: measures what is asked for and prints it. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { Measuring, type Result } from "./measure.js";
import { startPeers } from "./peers.js";
import { heading, tableLines, targetsOf } from "./report.js";
import { FULL, QUICK, rowsOf, type Row, type Settings } from "./rows.js";

const HELP = `npm run bench -- [options]
  --quick            fewer rounds, messages and connections
  --only TEXT        only rows whose name contains TEXT, as in "QoS 1, 1 KiB, plain, sink"
  --json             one JSON object instead of the table
  --rounds N, --messages N, --connections N   other numbers than the usual
`;

const OPTIONS = {
  quick: { type: "boolean" },
  only: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
  rounds: { type: "string" },
  messages: { type: "string" },
  connections: { type: "string" },
} as const;

export async function bench(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help === true) return void process.stdout.write(HELP);
  const settings = settingsOf(values.quick === true ? QUICK : FULL, values);
  const rows = rowsOf(settings, values.only ?? "");
  if (rows.length === 0) throw new Error(`no row contains "${values.only}"`);
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

function settingsOf(usual: Settings, given: { [name in keyof Settings]?: unknown }): Settings {
  const settings = { ...usual };
  for (const name of ["rounds", "messages", "connections"] as const) {
    if (given[name] === undefined) continue;
    const value = Number(given[name]);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} wants a whole number from 1 up`);
    settings[name] = value;
  }
  return settings;
}

function mqttJsVersion(): string {
  const file = createRequire(import.meta.url).resolve("mqtt/package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
