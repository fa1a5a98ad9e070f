/** Runs a factory station. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { HawserError } from "../../../sdk/errors.js";
import { packageRoot } from "../../../firmware/build/project-files.js";
import type { BoardEngine } from "../../../sim/boards/board-engine.js";
import type { BoardFault } from "../../../sim/boards/board-faults.js";
import { Jig, wrongVerdicts } from "../../../sim/boards/jig.js";
import { checkDeviceRole, policyOf } from "../../ca/ca-policy.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { unprovedFiles } from "../../ca-directory/ca-files.js";
import { localIssuer } from "../../station/factory/board-issuer.js";
import type { BoardIssuer } from "../../station/factory/board-issuer.js";
import { readStationCredentials, remoteIssuer } from "../../station/central/remote-issuer.js";
import { challengeOnly } from "../../station/factory/connection-proof.js";
import { FactoryStation } from "../../station/factory/factory-station.js";
import { Ledger } from "../../station/factory/ledger.js";
import type { BoardRecord, ShiftOrder } from "../../station/factory/ledger-records.js";
import { ReportQueue } from "../../station/factory/report-queue.js";
import { readHeadPlaces } from "../../station/factory/serial-places.js";
import type { HeadPlace } from "../../station/factory/serial-places.js";
import { layOut } from "../../labels/layout.js";
import { idPayload } from "../../labels/payloads.js";
import { printRaw, readPrinterAddress } from "../../labels/printer.js";
import { renderLabel } from "../../labels/render.js";
import { startPage } from "../../station/page/page-server.js";
import { ENGLISH_TEXTS, readPageTexts } from "../../station/page/page-texts.js";
import type { Context } from "../command-runner.js";
import { startEmbeddedProof } from "../factory/embedded-proof.js";
import { eventDisplay } from "../factory/station-display.js";
import type { StationDisplay } from "../factory/station-display.js";
import { terminalView } from "../factory/terminal-view.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { buildingXs, checkXsHere } from "../simulated-device/xs-presence.js";
import { readSecretFile, readSecretLine } from "../secret-files.js";
import { idSourceOf } from "./station-ids.js";
import type { Terminal } from "../terminal.js";
import { writeSummaryFile } from "./station-records.js";

/** Durations are milliseconds. */
export interface StationRunOptions extends PassphraseOptions {
  dir?: string;
  authority?: string;
  authorityCredentials?: string;
  station: string;
  head?: string[];
  operator: string;
  order: string;
  product: string;
  role: string;
  attribute?: string[];
  firmware?: string;
  target?: number;
  ids?: string;
  idList?: string;
  idsUrl?: string;
  idsTokenFile?: string;
  idsCa?: string;
  batch?: string;
  columns?: string;
  baud: number;
  firstArticle?: boolean;
  labelScan?: boolean;
  allowNoMac?: boolean;
  proof: "broker" | "challenge";
  brokerPort: number;
  brokerHost?: string;
  connectWithin: number;
  pagePort: number;
  pageHost: string;
  pageTokenFile?: string;
  language?: string;
  printer?: string;
  reportUrl?: string;
  view?: "heads" | "events";
  simulated?: number;
  boards?: number;
  engine: "node" | "xs";
  faults: BoardFault[];
  seed: number;
  json?: boolean;
}

const SIMULATED_FIRMWARE = "simulated-1";

export async function runStation(options: StationRunOptions, context: Context): Promise<void> {
  const order = orderOf(options);
  const ids = idSourceOf(options);
  if ((options.head === undefined) === (options.simulated === undefined)) {
    throw new HawserError(
      "USAGE",
      "--head NAME=PORT (once for each head) or --simulated HEADS is required, not both",
      "Run: hawser station run --help.",
    );
  }
  const heads = readHeadPlaces(options.head ?? []);
  const print = options.printer === undefined ? undefined : labelPrinter(options.printer);
  const { issuer, ca, close } = await issuerOf(options, context);
  const ledger = Ledger.open(options.station);
  try {
    await withProof(options, ca, async (proof, port) => {
      const bench = { ledger, issuer, ids, proof, order, baud: options.baud, connectWaitMs: options.connectWithin };
      const rules = {
        needsFirstArticle: options.firstArticle === true,
        needsLabelScan: options.labelScan === true,
        allowNoMac: options.allowNoMac === true,
        tellsOrderSystem: options.reportUrl !== undefined,
      };
      await atBenches(options, heads, port, context.terminal, async (places, jig) => {
        const station = new FactoryStation({ ...bench, ...rules, heads: places, ...(print && { print }) });
        await withSurroundings(station, ledger, port, options, context, (display) => work(station, display, jig, options, context));
      });
    });
  } finally {
    ledger.close();
    close();
  }
  const { file, summary } = writeSummaryFile(options.station);
  const { passed, failed } = summary;
  context.terminal.event(
    "summary",
    { file, passed: passed.length, failed: failed.length },
    `${passed.length} passed, ${failed.length} failed; signed: ${file}`,
    "green",
  );
}

interface OpenedIssuer {
  readonly issuer: BoardIssuer;
  /** Absent where the CA is elsewhere. */
  readonly ca?: CertificateAuthority;
  close(): void;
}

async function issuerOf(options: StationRunOptions, context: Context): Promise<OpenedIssuer> {
  const { dir, authority, authorityCredentials, proof, role } = options;
  if ((dir === undefined) === (authority === undefined)) {
    throw new HawserError("USAGE", "--dir DIR or --authority URL is required, not both", "Run: hawser station run --help.");
  }
  if (authority === undefined) {
    checkDeviceRole(policyOf(unprovedFiles(new CaDirectory(dir ?? ""))), role);
    const ca = await openCaOf({ ...options, dir: dir ?? "" }, context);
    return { issuer: localIssuer(ca), ca, close: () => undefined };
  }
  if (authorityCredentials === undefined) {
    throw new HawserError(
      "USAGE",
      "--authority needs --authority-credentials",
      "Name the directory that `hawser issue` made for this station.",
    );
  }
  if (proof !== "challenge") {
    const next = "Say --proof challenge: each board then signs a challenge with its new identity.";
    throw new HawserError("USAGE", "the built-in broker needs the CA, which is not on this machine", next);
  }
  const issuer = remoteIssuer(authority, readStationCredentials(authorityCredentials, readSecretFile));
  return { issuer, close: () => issuer.close() };
}

/** What is on the terminal, the page, the scanner on standard input, and the queue to the order system, while the station works. */
async function withSurroundings(
  station: FactoryStation,
  ledger: Ledger,
  brokerPort: number | undefined,
  options: StationRunOptions,
  { terminal, stop }: Context,
  then: (display: StationDisplay) => Promise<void>,
): Promise<void> {
  const { pagePort, pageHost, pageTokenFile, language, reportUrl, view } = options;
  const token = pageTokenFile === undefined ? undefined : readSecretLine(pageTokenFile);
  const texts = language === undefined ? ENGLISH_TEXTS : readPageTexts(readFileSync(language, "utf8"));
  let told = "";
  const queue =
    reportUrl === undefined
      ? undefined
      : new ReportQueue(ledger, reportUrl, (message) => {
          if (told !== message) display.notice("report-failed", { message }, `not reported yet: ${message}`, "yellow");
          told = message;
        });
  const page = await startPage({ station, host: pageHost, port: pagePort, texts, ...(token !== undefined && { token }) });
  const screen = view === "events" ? undefined : terminal.screen;
  const keyboard = screen !== undefined && process.stdin.isTTY ? process.stdin : undefined;
  const display =
    screen === undefined
      ? eventDisplay(terminal)
      : terminalView({ station, texts, screen, ...(keyboard && { keyboard }), onInterrupt: () => stop.request() });
  const scanner = keyboard === undefined ? createInterface({ input: process.stdin }) : undefined;
  scanner?.on("line", (line) => void (line.trim() !== "" && station.scan(line)));
  queue?.start();
  display.notice("ready", { page: page.url, brokerPort }, `the operator's page: ${page.url}`, "green");
  try {
    await then(display);
  } finally {
    display.close();
    scanner?.close();
    await queue?.stop();
    await page.close();
  }
}

/** Prints a board's id as QR code and text, 50 by 25 mm. */
function labelPrinter(printer: string): (board: BoardRecord) => Promise<void> {
  const address = readPrinterAddress(printer);
  return async ({ id }) => {
    const label = layOut({ payload: idPayload(id), lines: [id], widthMm: 50, heightMm: 25, dpi: 203 });
    await printRaw(renderLabel(label, "zpl"), address);
  };
}

/** Until the order is complete, the simulated boards are used up, or somebody stops it. */
async function work(
  station: FactoryStation,
  display: StationDisplay,
  jig: Jig | undefined,
  options: StationRunOptions,
  { terminal, stop }: Context,
): Promise<void> {
  const begunMs = performance.now();
  let complete: () => void = () => undefined;
  const completed = new Promise<void>((resolve) => (complete = resolve));
  station.onEvent((event) => {
    display.show(event);
    if (event.type === "totals" && options.target !== undefined && event.totals.passed >= options.target) complete();
    if (event.type !== "head" || jig === undefined) return;
    const { state, name, failure } = event.head;
    if (state === "passed") jig.judge(name, "passed");
    if (state === "failed" && failure !== undefined) jig.judge(name, failure.class);
  });
  try {
    station.open();
    station.startShift();
    await Promise.race([stop.asked, completed, ...(jig === undefined ? [] : [jig.emptied])]);
    station.stopShift();
  } finally {
    await station.close();
    display.close();
  }
  const { passed, failed } = station.view().totals;
  const boardsPerHour = Math.round(((jig?.results.length ?? passed) * 3_600_000) / (performance.now() - begunMs));
  terminal.event("done", { passed, failed, boardsPerHour }, `${passed} passed, ${failed} failed, ${boardsPerHour} boards an hour`, "green");
  const wrong = wrongVerdicts(jig?.results ?? []);
  if (wrong.length > 0)
    throw new HawserError(
      "NOT_PROVED",
      `${wrong.length} simulated boards ended otherwise than their faults allow: ${JSON.stringify(wrong.slice(0, 3))}`,
      "Report this with the seed.",
    );
}

async function withProof(
  options: StationRunOptions,
  ca: CertificateAuthority | undefined,
  then: (proof: typeof challengeOnly, port: number | undefined) => Promise<void>,
): Promise<void> {
  if (options.proof === "challenge" || ca === undefined) return then(challengeOnly, undefined);
  const proof = await startEmbeddedProof(ca, options.brokerPort, options.brokerHost);
  try {
    await then(proof, proof.mtlsPort);
  } finally {
    await proof.stop();
  }
}

async function atBenches(
  options: StationRunOptions,
  heads: readonly HeadPlace[],
  port: number | undefined,
  terminal: Terminal,
  then: (places: readonly HeadPlace[], jig?: Jig) => Promise<void>,
): Promise<void> {
  const { simulated, boards, faults, seed, baud, engine, firmware = SIMULATED_FIRMWARE } = options;
  if (simulated === undefined) return then(heads);
  const directory = mkdtempSync(join(tmpdir(), "hawser-jig-"));
  try {
    const broker = port === undefined ? undefined : { host: "127.0.0.1", port, serverName: "localhost" };
    const jig = new Jig({
      directory,
      heads: simulated,
      faults,
      seed,
      firmware,
      baud,
      ...(boards !== undefined && { boards }),
      ...(broker && { broker }),
      ...(engine === "xs" && { engine: await engineOnXs(join(directory, "xs"), terminal) }),
    });
    try {
      await jig.open();
      await then(jig.places, jig);
    } finally {
      await jig.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @throws HawserError `XS_NOT_HERE`, and as `xsBoards` */
async function engineOnXs(folder: string, terminal: Terminal): Promise<BoardEngine> {
  checkXsHere(packageRoot());
  // Loaded where it is wanted: the bundler is not in the published package.
  return buildingXs(terminal, async () => (await import("../../../sim/xs/xs-board.js")).xsBoards(folder));
}

function orderOf({ operator, order, product, role, attribute = [], firmware, target, simulated }: StationRunOptions): ShiftOrder {
  const attributes = Object.fromEntries(
    attribute.map((text) => {
      const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
      if (name === undefined || value === undefined)
        throw new HawserError("USAGE", `invalid attribute ${JSON.stringify(text)}`, "Use NAME=VALUE.");
      return [name, value];
    }),
  );
  const needed = firmware ?? (simulated === undefined ? undefined : SIMULATED_FIRMWARE);
  return {
    operator,
    order,
    product,
    role,
    attributes,
    ...(needed !== undefined && { firmware: needed }),
    ...(target !== undefined && { target }),
  };
}
