/** One run of `hawser station run` as a process, over simulated boards in this one, and what it cost. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { BoardFault } from "../../../sim/boards/board-faults.js";
import { Jig, wrongVerdicts } from "../../../sim/boards/jig.js";
import type { JigResult, Verdict } from "../../../sim/boards/jig.js";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { readLedger } from "../../../host-tools/station/factory/ledger.js";
import type { LedgerLine } from "../../../host-tools/station/factory/ledger-records.js";

export const CLI = fileURLToPath(new URL("../../../host-tools/cli/main.js", import.meta.url));
const FIRMWARE = "meter-1.4.2";
/** Of `times` in /proc/PID/stat on Linux. */
const TICK_MS = 10;

export interface LineRun {
  readonly room: string;
  readonly env: NodeJS.ProcessEnv;
  /** Of the CA and the station's records, below the room. */
  readonly ca: string;
  readonly station: string;
  readonly heads: number;
  readonly boards: number;
  readonly baud: number;
  readonly faults: readonly BoardFault[];
}

export interface MeasuredLine {
  readonly results: readonly JigResult[];
  readonly ledger: readonly LedgerLine[];
  /** From one verdict at a head to its next, milliseconds. */
  readonly cyclesMs: readonly number[];
  readonly boardsPerHour: number;
  /** Of the station with the processes that it started, and of this process, the boards': milliseconds a board. */
  readonly cpuMs: { readonly station: number; readonly boards: number };
}

/** Throws when the station ends early, or a simulated board gets the wrong verdict. */
export async function measureLine({ room, env, ca, station, heads, boards, baud, faults }: LineRun): Promise<MeasuredLine> {
  const [port = 0] = await freePorts(1);
  const broker = { host: "127.0.0.1", port, serverName: "localhost" };
  const jig = new Jig({ directory: join(room, `${station}-jig`), heads, boards, faults, seed: 7, firmware: FIRMWARE, baud, broker });
  await jig.open();
  const args = ["station", "run", "--dir", ca, "--station", station, "--operator", "bench", "--ids", `${station}-{n:6}`, "--json"];
  const line = ["--firmware", FIRMWARE, "--baud", String(baud), "--broker-port", String(port)];
  const places = jig.places.flatMap(({ name, port: path }) => ["--head", `${name}=${path}`]);
  const child = spawn(process.execPath, [CLI, ...args, ...line, ...places], { cwd: room, env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<never>((_resolve, reject) =>
    child.once("close", (code) => reject(new Error(`the station ended with ${String(code)}`))),
  );
  ended.catch(() => undefined);
  const judged = judge(createInterface({ input: child.stdout }), jig);
  try {
    await Promise.race([judged.begun, ended]);
    const begunMs = performance.now();
    const before = { station: cpuMs(child.pid ?? 0), boards: ownCpuMs() };
    await Promise.race([jig.emptied, ended]);
    const tookMs = performance.now() - begunMs;
    const cpu = {
      station: (cpuMs(child.pid ?? 0) - before.station) / boards,
      boards: (ownCpuMs() - before.boards) / boards,
    };
    const wrong = wrongVerdicts(jig.results);
    if (wrong.length > 0) throw new Error(`${wrong.length} boards got the wrong verdict: ${JSON.stringify(wrong[0])}`);
    const { lines } = readLedger(join(room, station));
    const boardsPerHour = (boards * 3_600_000) / tookMs;
    return { results: jig.results, ledger: lines, cyclesMs: judged.cyclesMs, boardsPerHour, cpuMs: cpu };
  } finally {
    child.kill("SIGINT");
    await ended.catch(() => undefined);
    await jig.close();
  }
}

/** The operator's hands: sorts each board as its head shows. */
function judge(lines: NodeJS.EventEmitter, jig: Jig): { begun: Promise<void>; cyclesMs: number[] } {
  const cyclesMs: number[] = [];
  const lastMs = new Map<string, number>();
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  lines.on("line", (text: string) => {
    const event = JSON.parse(text) as { event: string; name: string; state: string; failure?: { class: Verdict } };
    if (event.event === "ready") begin();
    if (event.event !== "head" || !["passed", "failed"].includes(event.state)) return;
    const sortedBefore = jig.results.length;
    const verdict = event.state === "passed" ? "passed" : (event.failure?.class ?? "operator");
    const nowMs = performance.now();
    const last = lastMs.get(event.name);
    if (verdict === "passed" || verdict === "permanent") {
      if (last !== undefined && sortedBefore > 0) cyclesMs.push(nowMs - last);
      lastMs.set(event.name, nowMs);
    }
    jig.judge(event.name, verdict);
  });
  return { begun, cyclesMs };
}

/** Of a process and of its children that have ended. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const times = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15);
  return times.reduce((sum, ticks) => sum + Number(ticks) * TICK_MS, 0);
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
