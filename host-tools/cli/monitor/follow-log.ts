/** Lets a monitor read: a log file as it grows, or standard input. */
import { existsSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import type { LogMonitor } from "../../monitor/log-monitor.js";
import type { StopSignal } from "../stop-signal.js";

const POLL_MS = 250;

/**
 * The file that `--log` names; undefined for standard input. Commander asks for a required option in the names of subcommands, too.
 * @throws HawserError `USAGE`
 */
export function logFileOf(log: string | undefined): string | undefined {
  if (log === undefined) throw new HawserError("USAGE", "required option '--log <file>' not specified", "Run: hawser monitor --help");
  return log === "-" ? undefined : log;
}

/** @throws HawserError `NOT_FOUND` */
export function checkLogIsThere(file: string): void {
  if (existsSync(file)) return;
  throw new HawserError("NOT_FOUND", `no such file or directory: ${file}`, "Check the path: log_dest in mosquitto.conf names the log.");
}

export interface Following {
  /** Undefined for standard input. */
  readonly file: string | undefined;
  readonly once: boolean;
  readonly stop: StopSignal;
  /** The log was read to its present end. */
  readonly onRead: () => void;
}

/** Reads until a stop is asked for or, with `once`, to the end. Throws as `LogMonitor`. */
export async function followLog(monitor: LogMonitor, { file, once, stop, onRead }: Following): Promise<void> {
  if (file === undefined) return readInput(monitor, stop, onRead);
  do {
    await monitor.poll();
    monitor.idle();
    onRead();
  } while (!once && (await isToContinue(stop)));
  monitor.checkpoint();
}

/** For a monitor without a log: looks now and then until a stop is asked for. */
export async function followNoLog(monitor: LogMonitor, { stop, onRead }: Pick<Following, "stop" | "onRead">): Promise<void> {
  do {
    monitor.idle();
    onRead();
  } while (await isToContinue(stop));
  monitor.checkpoint();
}

/** Waits until the next look; false when a stop was asked for. */
async function isToContinue(stop: StopSignal): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([new Promise((resolve) => (timer = setTimeout(resolve, POLL_MS))), stop.asked]);
  clearTimeout(timer);
  return !stop.requested;
}

async function readInput(monitor: LogMonitor, stop: StopSignal, onRead: () => void): Promise<void> {
  const input = process.stdin;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const orReject =
        <A extends unknown[]>(act: (...args: A) => void) =>
        (...args: A): void => {
          try {
            act(...args);
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        };
      input.on(
        "data",
        orReject((bytes: Buffer) => monitor.input(bytes)),
      );
      input.once("end", resolve).once("error", reject);
      void stop.asked.then(resolve);
      // A line whose pair is still to come is not held back for longer than the file's reader would.
      const look = (): void => {
        monitor.idle();
        onRead();
      };
      timer = setInterval(orReject(look), POLL_MS);
    });
    monitor.inputEnded();
    monitor.idle();
    monitor.checkpoint();
  } finally {
    clearInterval(timer);
    input.removeAllListeners("data").destroy();
  }
}
