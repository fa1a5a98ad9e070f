/** Runs a real mosquitto as a child process. */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../sdk/errors.js";
import type { Log } from "../../sdk/platform.js";
import { isPortFree } from "./free-port.js";
import { watchOver } from "./orphan-guard.js";

export interface MosquittoOptions {
  configFile: string;
  /** The loopback ports that the configuration opens. */
  ports: readonly number[];
  log?: Log;
  /** The program to run; without it the `mosquitto` on PATH or in the places where systems put it. */
  binary?: string;
  /** Called with every line that mosquitto logs. */
  onLine?: (line: string) => void;
  /** How long it may take until all ports accept. */
  startTimeoutMs?: number;
  /** How many of the last log lines are kept. */
  keptLines?: number;
}

export interface MosquittoExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningMosquitto {
  readonly pid: number;
  /** The last log lines, oldest first. */
  lines(): string[];
  /** Makes it read CRL, ACL, PSK and password files again (SIGHUP). What it makes of them stands in its log. */
  reload(): void;
  /** SIGTERM, which saves its persistence, then SIGKILL if it does not end. */
  stop(): Promise<void>;
  /** SIGKILL: it loses what it has not saved. */
  kill(): Promise<void>;
  /** Resolves when it has ended, for whatever reason; never rejects. */
  readonly exited: Promise<MosquittoExit>;
}

const KEPT_LINES = 500;
const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
const PROBE_INTERVAL_MS = 20;
/** What mosquitto logs when all its listeners are open. */
const RUNNING_LINE = /mosquitto version \S+ running/;
/** A configuration may send the log elsewhere: then it counts as running when it has not ended by then. */
const SETTLE_MS = 300;
/** Debian puts it where a user's PATH does not lead. */
const USUAL_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin", "/opt/homebrew/opt/mosquitto/sbin"];

/**
 * Starts mosquitto in the foreground and resolves when all its ports accept connections.
 * @throws HawserError `MOSQUITTO_MISSING`, `PORT_IN_USE`, or `MOSQUITTO_FAILED` with what its log said
 */
export async function startMosquitto(options: MosquittoOptions): Promise<RunningMosquitto> {
  const binary = options.binary ?? findMosquitto();
  if (!isExecutable(binary)) throw missing(`at ${binary}`);
  for (const port of options.ports) {
    // Asked before, because afterwards the other program's answer would look like mosquitto's.
    if (!(await isPortFree(port))) throw portInUse(port);
  }
  const child = spawn(binary, ["-c", options.configFile], { stdio: ["ignore", "pipe", "pipe"] });
  let tellRunning: () => void = () => undefined;
  const running = new Promise<void>((resolve) => (tellRunning = resolve));
  const lines = collectLines(child, options, (line) => RUNNING_LINE.test(line) && tellRunning());
  const exited = exitOf(child);
  const release = watchOver(child);
  void exited.then(release);
  const timeoutMs = options.startTimeoutMs ?? START_TIMEOUT_MS;
  const failure = await Promise.race([
    accepting(options.ports, timeoutMs, exited).then((late) => late ?? settled(running)),
    exited.then((exit) => startFailure(exit, lines, options)),
  ]);
  if (failure !== undefined) {
    child.kill("SIGKILL");
    await exited;
    throw failure;
  }
  options.log?.("info", "mosquitto runs", { pid: child.pid ?? 0 });
  return {
    pid: child.pid ?? 0,
    lines: () => [...lines],
    reload: () => void child.kill("SIGHUP"),
    stop: () => end(child, exited, "SIGTERM"),
    kill: () => end(child, exited, "SIGKILL"),
    exited,
  };
}

/**
 * Where the mosquitto program is.
 * @throws HawserError `MOSQUITTO_MISSING`
 */
export function findMosquitto(path: string = process.env["PATH"] ?? "", usualFolders: readonly string[] = USUAL_FOLDERS): string {
  for (const folder of [...path.split(delimiter), ...usualFolders]) {
    const candidate = join(folder, "mosquitto");
    if (folder !== "" && isExecutable(candidate)) return candidate;
  }
  throw missing("on PATH or in the usual folders");
}

function missing(where: string): HawserError {
  return new HawserError(
    "MOSQUITTO_MISSING",
    `no mosquitto program ${where}`,
    "Install it: apt-get install mosquitto (Debian, Ubuntu) or brew install mosquitto (macOS).",
  );
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Gathers both outputs, of which the last lines are kept. */
function collectLines(child: ChildProcess, options: MosquittoOptions, onLine: (line: string) => void): string[] {
  const lines: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    if (output === null) continue;
    createInterface({ input: output }).on("line", (line) => {
      lines.push(line);
      if (lines.length > (options.keptLines ?? KEPT_LINES)) lines.shift();
      options.log?.("debug", "mosquitto", { line });
      options.onLine?.(line);
      onLine(line);
    });
  }
  return lines;
}

/** Settles after the outputs have ended too, so that the log is complete; code null and no signal when it could not be run at all. */
function exitOf(child: ChildProcess): Promise<MosquittoExit> {
  return new Promise((resolve) => {
    child.once("error", () => resolve({ code: null, signal: null }));
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

/** Undefined when all ports accept; an error when they do not in time. Ends too when mosquitto has ended. */
async function accepting(ports: readonly number[], timeoutMs: number, exited: Promise<MosquittoExit>): Promise<HawserError | undefined> {
  let hasEnded = false;
  void exited.then(() => (hasEnded = true));
  const deadlineMs = performance.now() + timeoutMs;
  for (const port of ports) {
    while (!(await accepts(port))) {
      // The other side of the race knows why.
      if (hasEnded) return new Promise(() => undefined);
      if (performance.now() > deadlineMs) {
        return new HawserError(
          "MOSQUITTO_FAILED",
          `mosquitto did not open port ${port} within ${timeoutMs} ms`,
          "Check that its configuration has a listener on this port.",
        );
      }
      await delay(PROBE_INTERVAL_MS);
    }
  }
  return undefined;
}

/** mosquitto opens one listener after the other and ends when it cannot have the next, so that a port that accepts is not enough. */
async function settled(running: Promise<void>): Promise<undefined> {
  const late = new AbortController();
  await Promise.race([running, delay(SETTLE_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
}

async function accepts(port: number): Promise<boolean> {
  return (await acceptsOn("127.0.0.1", port)) || (await acceptsOn("::1", port));
}

function acceptsOn(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** Why it ended before its ports were open, from its own words. */
function startFailure(exit: MosquittoExit, lines: readonly string[], options: MosquittoOptions): HawserError {
  if (lines.some((line) => line.includes("Address already in use"))) return portInUse(portNamedLast(lines) ?? options.ports[0] ?? 0);
  const said = lines.filter((line) => /error|unable|invalid|unknown/i.test(line));
  const words = (said.length > 0 ? said : lines).slice(-3).map(withoutTimestamp).join("; ") || "nothing";
  const how = exit.code === null ? (exit.signal ?? "it could not be run") : `exit code ${exit.code}`;
  return new HawserError(
    "MOSQUITTO_FAILED",
    `mosquitto exited at startup (${how}): ${words.slice(0, 500)}`,
    `Check ${options.configFile} and the files it refers to.`,
  );
}

function portNamedLast(lines: readonly string[]): number | undefined {
  const ports = lines.map((line) => /listen socket on port (\d+)/.exec(line)?.[1]).filter((port) => port !== undefined);
  const last = ports.at(-1);
  return last === undefined ? undefined : Number(last);
}

function withoutTimestamp(line: string): string {
  return line.replace(/^[\d\-T:.]+: /, "");
}

function portInUse(port: number): HawserError {
  return new HawserError("PORT_IN_USE", `port ${port} is in use by another program`, "Stop that program, or choose another port.");
}

async function end(child: ChildProcess, exited: Promise<MosquittoExit>, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  child.kill(signal);
  const deadline = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(deadline);
}
