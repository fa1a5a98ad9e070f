/** `hawser station`. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { BOARD_FAULTS } from "../../../sim/boards/board-faults.js";
import type { BoardFault } from "../../../sim/boards/board-faults.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseBaud, parseCount, parsePort, parsePositiveDurationMs } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addStationCommands(program: Command, run: Run): void {
  const station = program.command("station").description("Provision many boards at once, each at its own head, from plugging in to PASS.");
  addRun(station, run);
  addAuthority(station, run);
  addSummary(station, run);
  addVerify(station, run);
  addReopen(station, run, "rework", "Let a board that passed get a new key and certificate: its flash was erased.");
  addReopen(station, run, "replace", "Give the id of a board that was given up to the next new board.");
}

const stationDirectory = (command: Command): Command =>
  command.option("--station <dir>", "directory of the station: ledger, key, summaries", parsePath, "station");

function addRun(station: Command, run: Run): void {
  const command = stationDirectory(
    station.command("run").description("Run the station until SIGINT or SIGTERM, or until the order is complete."),
  );
  command
    .option("--dir <dir>", "CA directory created by `hawser ca init`; or use --authority", parsePath)
    .option("--authority <url>", "https://HOST:PORT of `hawser station authority`, where the CA is elsewhere", parsePath)
    .option("--authority-credentials <dir>", "with --authority: what `hawser issue` made for this station", parsePath)
    .option("--head <name=port>", "a head and its port: 1=/dev/serial/by-path/...; repeat for each head", collect)
    .requiredOption("--operator <name>", "who works here")
    .option("--order <order>", "order number", "none")
    .option("--product <product>", "product name", "none")
    .option("--role <role>", "device role", "sensor")
    .option("--attribute <name=value>", "attribute of every board in the registry; repeatable", collect)
    .option("--firmware <firmware>", "what boards must report as their firmware (default: not checked)")
    .addOption(new Option("--target <count>", "stop once so many boards of the order have passed").argParser(parseCount))
    .option("--ids <pattern>", "ids with a counter: meter-{n:6}")
    .option("--id-list <file>", "ids, one a line", parsePath)
    .option("--ids-url <url>", "ask a manufacturing execution system for the id of each new board, by its MAC address")
    .option("--ids-token-file <file>", "with --ids-url: file whose first line is the bearer token", parsePath)
    .option("--ids-ca <file>", "with --ids-url: CA certificates in PEM to trust instead of the system's", parsePath)
    .option("--batch <file>", "CSV with the columns id, mac and role (the last two optional)", parsePath)
    .option("--columns <file>", "JSON that names the columns of --batch", parsePath)
    .addOption(new Option("--baud <rate>", "bits per second").argParser(parseBaud).default(115_200))
    .option("--first-article", "the order's first board passes only when a second person accepts it")
    .option("--label-scan", "a board passes only when its label was scanned at the station")
    .option("--allow-no-mac", "accept boards that do not report their MAC address")
    .addOption(
      new Option("--proof <proof>", "broker: a board must connect and publish; challenge: its signature is enough")
        .choices(["broker", "challenge"])
        .default("broker"),
    )
    .addOption(new Option("--broker-port <port>", "port of the built-in broker; 0 lets the system choose").argParser(parsePort).default(0))
    .option("--broker-host <address>", "address of the built-in broker that boards reach (default: loopback)", parsePath)
    .addOption(
      new Option("--connect-within <duration>", "how long a board may take to connect")
        .argParser(parsePositiveDurationMs)
        .default(60_000, "60s"),
    )
    .addOption(new Option("--page-port <port>", "port of the operator's page; 0 lets the system choose").argParser(parsePort).default(0))
    .option("--page-host <address>", "address of the page; any but loopback needs --page-token-file", parsePath, "127.0.0.1")
    .option("--page-token-file <file>", "file whose first line opens the page: http://HOST:PORT/?token=...", parsePath)
    .option("--language <file>", "texts of the page in JSON", parsePath)
    .option("--printer <host[:port]>", "label printer that takes ZPL; prints each board's id before it passes")
    .option("--report-url <url>", "POST a JSON row to this URL for each board that passed; kept and retried while it cannot be reached")
    .addOption(
      new Option("--view <view>", "on a terminal: heads, one line a head, kept up to date; events, one line an event")
        .choices(["heads", "events"])
        .default("heads"),
    )
    .addOption(new Option("--simulated <heads>", "simulated boards at so many heads instead of --head").argParser(parseCount))
    .addOption(new Option("--boards <count>", "with --simulated: how many boards (default: no end)").argParser(parseCount))
    .addOption(
      new Option("--engine <engine>", "with --simulated: what boards run on: node, or xs (as on an ESP32, with TLS and key store in C)")
        .choices(["node", "xs"])
        .default("node"),
    )
    .addOption(
      new Option("--faults <faults>", `with --simulated: all, none, or some of ${BOARD_FAULTS.join(", ")}`)
        .argParser(parseFaults)
        .default([], "none"),
    )
    .addOption(new Option("--seed <number>", "with --simulated: the same seed draws the same boards").argParser(parseCount).default(1));
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "The page, the terminal and lines on standard input take scans: OP:name (a badge), START, STOP, RETRY:head, REPRINT:id, APPROVE, REJECT, or a label.",
      "Killed, or out of disk space, it continues where it stopped when it is started again with the same --station.",
      "A board is known for ever by its MAC address, id and key. Ports that no head names are left alone.",
      "The registry of the CA and the ledger in --station are both backed up, or neither.",
    ],
    json: [
      '{"time":"..","event":"ready","page":"http://127.0.0.1:40123/","brokerPort":8883}',
      '{"time":"..","event":"head","name":"1","state":"passed","id":"meter-000001","seconds":2.1}',
      '{"time":"..","event":"done","passed":12,"failed":1,"boardsPerHour":840,"summary":"station/summary-...json"}',
    ],
    examples: [
      "hawser station run --dir ca --operator alice --ids 'demo-{n:4}' --simulated 8 --boards 24 --faults all",
      "hawser station run --dir ca --operator alice --order 4711 --ids 'meter-{n:6}' --head 1=/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
    ],
    exits: [3, 4, 5, 6, 130],
  });
  command.action(run(async () => (await import("./station-run.js")).runStation));
}

function parseFaults(text: string): BoardFault[] {
  if (text === "all") return [...BOARD_FAULTS];
  if (text === "none") return [];
  return text.split(",").map((name) => {
    const fault = BOARD_FAULTS.find((one) => one === name);
    if (fault === undefined) throw new InvalidArgumentError(`Use all, none, or some of ${BOARD_FAULTS.join(", ")}.`);
    return fault;
  });
}

function addAuthority(station: Command, run: Run): void {
  const command = caDirectory(station.command("authority").description("Issue certificates to stations elsewhere, over mutual TLS."));
  command
    .requiredOption("--batch <name=count>", "a station, and how many boards it may be given in all; repeat for each station", collect)
    .option("--role <role>", "a role that stations may give to boards; repeatable (default: sensor)", collect)
    .option("--book <dir>", "directory that notes which station was given which board", parsePath, "stations")
    .option("--host <address>", "address to listen on; the CA's broker certificate must name it", parsePath, "127.0.0.1")
    .addOption(new Option("--port <port>", "port to listen on; 0 lets the system choose").argParser(parsePort).default(0));
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "A station shows a certificate of `hawser issue`; the registry is asked at each request, so a revoked station is shut out at once.",
      "A station is given new ids only, and replaces only boards that it was given itself. No MAC address and no key gets two ids.",
      "The directory of the CA and --book are both backed up, or neither.",
    ],
    json: [
      '{"time":"..","event":"ready","port":8443}',
      '{"time":"..","event":"issued","station":"line-1","id":"meter-000001","serial":"4f..","left":999}',
      "also: refused (station, code, reason), stopped",
    ],
    examples: ["hawser station authority --dir ca --batch line-1=1000 --batch line-2=500 --port 8443"],
    exits: [3, 4, 5, 6],
  });
  command.action(run(async () => (await import("./station-authority-run.js")).runStationAuthority));
}

function addSummary(station: Command, run: Run): void {
  const command = stationDirectory(station.command("summary").description("Write and sign the summary of the latest shift."));
  json(command);
  addHelp(command, {
    notes: ["`hawser station run` writes one when it ends in an orderly way. This command is for a shift that was interrupted."],
    json: ['{"file":"station/summary-..json","operator":"alice","order":"4711","passed":120,"failed":2}'],
    examples: ["hawser station summary --station station"],
    exits: [6],
  });
  command.action(run(async () => (await import("./station-records.js")).writeSummary));
}

function addVerify(station: Command, run: Run): void {
  const command = stationDirectory(station.command("verify").description("Prove a summary by its signature and the ledger."))
    .requiredOption("--summary <file>", "the summary to prove", parsePath)
    .option("--key <file>", "the station's public key in PEM, kept elsewhere (default: the station's own)", parsePath);
  json(command);
  addHelp(command, {
    json: ['{"operator":"alice","order":"4711","passed":120,"failed":2,"publicKey":"-----BEGIN PUBLIC KEY-----.."}'],
    examples: ["hawser station verify --summary station/summary-2026-11-28T18-00-00Z.json"],
    exits: [6],
  });
  command.action(run(async () => (await import("./station-records.js")).verifySummaryFile));
}

function addReopen(station: Command, run: Run, name: "rework" | "replace", description: string): void {
  const command = stationDirectory(station.command(name).description(description))
    .requiredOption("--id <id>", "id of the board")
    .requiredOption("--operator <name>", "who decides it")
    .requiredOption("--reason <text>", "why; for the ledger");
  json(command);
  addHelp(command, {
    notes: ["The old certificate is revoked when the new one is issued. Stop the station first."],
    json: ['{"id":"meter-000001"}'],
    examples: [`hawser station ${name} --id meter-000001 --operator alice --reason 'flash worn out'`],
    exits: [5, 6],
  });
  command.action(run(async () => (await import("./station-records.js"))[name]));
}
