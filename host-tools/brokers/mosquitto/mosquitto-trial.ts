/**
 * Loads a configuration in a mosquitto of its own before the real one gets it: on a reload mosquitto takes a broken ACL file for none at
 * all and allows everything, so a file it cannot read must never be put where it looks.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import { isOurDirectory } from "../../../sim/node/files/safe-path.js";
import { compileMosquittoTrial, MOSQUITTO_FILES, pluginState } from "./mosquitto-config.js";
import type { BrokerFacts, MosquittoSettings } from "./mosquitto-config.js";

/** Mosquitto is up in a few hundredths of a second; this is for machines in trouble. */
const START_LIMIT_MS = 20_000;

/**
 * Runs the configuration for a moment, on UNIX sockets.
 *
 * @param place directories of this name with something unpredictable behind it are made and removed again; so are those that an earlier
 *   trial left. They see secrets,
 *   so they belong where nobody else may write
 * @returns what mosquitto has against it, or undefined when there is nothing
 */
export function tryConfiguration(
  mosquitto: string,
  place: string,
  settings: MosquittoSettings,
  facts: BrokerFacts,
): Promise<string | undefined> {
  // One at a time: each removes what earlier ones left.
  const trial = lastTrial.then(async () => {
    const contents = contentsOf(mosquitto, settings, facts);
    if (contents === lastGood) return undefined;
    const problem = await runTrial(mosquitto, place, settings, facts);
    if (problem === undefined) lastGood = contents;
    return problem;
  });
  lastTrial = trial.catch(() => undefined);
  return trial;
}

let lastTrial: Promise<unknown> = Promise.resolve();
/** Brokers of one CA differ in their ports and directories, which a trial has of its own: what one could load, all can. */
let lastGood: string | undefined;

function contentsOf(mosquitto: string, settings: MosquittoSettings, facts: BrokerFacts): string {
  const { backendPort, ...rest } = settings;
  const alike = { ...rest, mtlsPort: 1, pskPort: 2, ...(backendPort === undefined ? {} : { backendPort: 3 }), user: "" };
  const hash = createHash("sha256").update(mosquitto);
  for (const [name, content] of compileMosquittoTrial("/", alike, facts)) hash.update(`\0${name}\0${content}`);
  return hash.digest("hex");
}

async function runTrial(mosquitto: string, place: string, settings: MosquittoSettings, facts: BrokerFacts): Promise<string | undefined> {
  removeLeftovers(place);
  // Mode 0700, by a name that was not there.
  const room = mkdtempSync(`${place}-`);
  try {
    mkdirSync(join(room, MOSQUITTO_FILES.data), { mode: 0o700 });
    const files = compileMosquittoTrial(room, { ...settings, user: currentUser() }, facts);
    writeFileSync(join(room, MOSQUITTO_FILES.plugin), pluginState(), { mode: 0o600, flag: "wx" });
    for (const [name, content] of files) writeFileSync(join(room, name), content, { mode: 0o600, flag: "wx" });
    // Sockets are named relative to the working directory: their whole path may be too long for the system.
    return await verdictOf(
      spawn(mosquitto, ["-c", join(room, MOSQUITTO_FILES.config)], { cwd: room, stdio: ["ignore", "ignore", "pipe"] }),
    );
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
}

function removeLeftovers(place: string): void {
  for (const name of readdirSync(dirname(place))) {
    const path = join(dirname(place), name);
    if (name.startsWith(`${basename(place)}-`) && isOurDirectory(path)) rmSync(path, { recursive: true, force: true });
  }
}

async function verdictOf(child: ChildProcess): Promise<string | undefined> {
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  try {
    return await new Promise((resolve) => {
      let log = "";
      const limit = setTimeout(() => resolve("it did not start in time"), START_LIMIT_MS);
      const settle = (problem: string | undefined): void => {
        clearTimeout(limit);
        resolve(problem);
      };
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (/^[^\n]*: Error: [^\n]+\n/m.test(log)) settle(firstError(log));
        else if (/: mosquitto version \S+ running\n/.test(log)) settle(undefined);
      });
      child.once("error", (error) => settle(error.message));
      void exited.then(() => settle(firstError(log)));
    });
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
}

function firstError(log: string): string {
  return /Error: ([^\n]+)/.exec(log)?.[1] ?? "it ended at once";
}

function currentUser(): string {
  return process.getuid?.() === 0 ? "root" : nameOfThisUser();
}

/** The name of the user who runs this, or mosquitto's own where the system has no name for it. */
export function nameOfThisUser(): string {
  try {
    return userInfo().username;
  } catch {
    return "mosquitto";
  }
}
