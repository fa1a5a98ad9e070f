/** The mosquitto that an agent runs: started when its files may be served, told to load new ones, and stopped when they may not. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../sdk/errors.js";
import { MOSQUITTO_FILES } from "../brokers/mosquitto/mosquitto-config.js";
import { placeFiles, prepareDirectory } from "../brokers/mosquitto/mosquitto-output.js";
import { runningMosquittos } from "../brokers/mosquitto/mosquitto-process.js";
import { askAt } from "../brokers/mosquitto/mosquitto-reload.js";
import type { BundleContent } from "./bundle.js";

/** On a machine in trouble a start takes seconds. */
const LOAD_LIMIT_MS = 15_000;
/** mosquitto 2.0 forgets a SIGHUP that comes while it reloads. */
const SIGNAL_AGAIN_MS = 300;
const LOOK_MS = 15;
/** It saves its sessions when it stops. */
const STOP_LIMIT_MS = 10_000;
const RESTART_AFTER_MS = 1000;

export class AgentBroker {
  readonly #mosquitto: string;
  readonly #directory: string;
  readonly #onExit: (why: string) => void;
  #child: ChildProcess | undefined;
  #mayServe = false;

  /**
   * @param directory of its files
   * @param onExit told when it ends by itself; it is started again
   */
  constructor(mosquitto: string, directory: string, onExit: (why: string) => void) {
    this.#mosquitto = mosquitto;
    this.#directory = directory;
    this.#onExit = onExit;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /**
   * Has the broker serve with these files, and with no others: it ends if it does not show that it has loaded them.
   *
   * @throws HawserError `BROKER_NOT_UPDATED`, `OUTPUT_EXPOSED`, `STORAGE_FAILED`, `STORAGE_FULL`
   */
  async serve({ files, user, probe }: BundleContent): Promise<void> {
    const { directory } = prepareDirectory(this.#directory);
    const changed = placeFiles(directory, user, new Map(Object.entries(files)));
    // A reload changes no listener.
    if (this.#child !== undefined && changed.includes(MOSQUITTO_FILES.config)) await this.stop();
    const marker = markerIn(files[MOSQUITTO_FILES.psk] ?? "");
    this.#mayServe = true;
    if (this.#child === undefined) await this.#start();
    else if (changed.length > 0) this.#child.kill("SIGHUP");
    const deadlineMs = performance.now() + LOAD_LIMIT_MS;
    let signalMs = performance.now() + SIGNAL_AGAIN_MS;
    while ((await askAt(probe, marker)) !== "loaded") {
      const nowMs = performance.now();
      if (nowMs > deadlineMs || this.#child === undefined) {
        const why = this.#child === undefined ? "mosquitto ended" : "mosquitto does not show that it has loaded its files";
        await this.stop();
        throw new HawserError(
          "BROKER_NOT_UPDATED",
          `${why}; it serves nobody until they load`,
          "See mosquitto's own lines in this log: a port in use, a missing plugin, a version that lacks an option.",
        );
      }
      if (nowMs > signalMs) {
        this.#child.kill("SIGHUP");
        signalMs = nowMs + SIGNAL_AGAIN_MS;
      }
      await delay(LOOK_MS);
    }
  }

  /** Ends every connection; sessions and queued messages are kept. */
  async stop(): Promise<void> {
    this.#mayServe = false;
    const child = this.#child;
    if (child === undefined) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const limit = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    await exited;
    clearTimeout(limit);
  }

  async #start(): Promise<void> {
    await this.#endOthers();
    const config = join(this.#directory, MOSQUITTO_FILES.config);
    // Its log goes where the agent's goes.
    const child = spawn(this.#mosquitto, ["-c", config], { stdio: ["ignore", "ignore", "inherit"] });
    this.#child = child;
    const ended = (why: string): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      if (!this.#mayServe) return;
      this.#onExit(why);
      setTimeout(() => {
        if (this.#mayServe && this.#child === undefined) void this.#start();
      }, RESTART_AFTER_MS).unref();
    };
    child.once("error", (error) => ended(error.message));
    child.once("exit", (code, signal) => ended(signal ?? `exit code ${code ?? ""}`));
  }

  /** One that outlived an agent which was killed: it serves with whatever it loaded. */
  async #endOthers(): Promise<void> {
    const deadlineMs = performance.now() + STOP_LIMIT_MS;
    for (;;) {
      const others = runningMosquittos(this.#directory);
      if (others.length === 0) return;
      for (const pid of others) process.kill(pid, performance.now() > deadlineMs ? "SIGKILL" : "SIGTERM");
      await delay(LOOK_MS);
    }
  }
}

/** The pre-shared key that only these files hold: see `loadedMarker`. */
function markerIn(pskFile: string): { identity: string; key: Buffer } {
  const [, identity = "", key = ""] = /^(-loaded-[0-9a-f]+):([0-9a-f]+)$/m.exec(pskFile) ?? [];
  return { identity, key: Buffer.from(key, "hex") };
}
