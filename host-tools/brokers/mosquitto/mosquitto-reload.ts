/**
 * Makes a running mosquitto read its files again, and proves that it did. The proof comes over the network, from a pre-shared key that only
 * the new files hold: mosquitto
 * 2.0 forgets a SIGHUP that arrives while it is busy with an earlier one, and a broker in a container has another process id, or none that
 * can be seen from here.
 */
import { connect } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { loadedMarker, pskHint } from "./mosquitto-config.js";
import type { NamedKey } from "./mosquitto-acl.js";
import type { BrokerFacts, MosquittoSettings } from "./mosquitto-config.js";
import { runningMosquittos } from "./mosquitto-process.js";
import type { Output } from "../../ca-directory/outputs-file.js";

/** A reload takes milliseconds, on a machine in trouble a second. */
const RELOAD_LIMIT_MS = 20_000;
/** For a broker that runs and does not answer: it may have begun a moment ago. */
const SILENT_LIMIT_MS = 3_000;
/** For a broker that cannot be told from here: somebody beside it may reload it when its files change. */
const OTHERS_LIMIT_MS = 400;
/** Between looking and looking again after a signal; after the last one the signal is taken for lost. */
const WAITS_MS = [10, 30, 100, 300];
const PROBE_LIMIT_MS = 2000;

/**
 * - `loaded`: the broker had these files already; `reloaded`: it was told to read them, and has.
 * - `silent`: nobody answers where the broker should be, and no process of it is seen. It may be stopped, or run where this machine cannot
 *   reach it.
 */
export type Loading = "loaded" | "reloaded" | "silent";

/**
 * Brings the broker of a configuration to the state its files have.
 *
 * @param force reload even if the broker shows that it has this state (settings outside of the facts changed)
 * @throws HawserError `OUTPUT_NOT_RELOADED` when a broker answers that has not loaded them, or runs and does not answer
 */
export async function bringUpToDate(output: Output, facts: BrokerFacts, force: boolean, limitMs = RELOAD_LIMIT_MS): Promise<Loading> {
  const { directory, settings } = output;
  const first = await askForMarker(settings, facts);
  if (first === "loaded" && !force) return "loaded";
  const isSeen = runningMosquittos(directory).length > 0;
  if (!isSeen && first !== "stale") return first;
  const deadlineMs = performance.now() + Math.min(limitMs, !isSeen ? OTHERS_LIMIT_MS : first === "silent" ? SILENT_LIMIT_MS : limitMs);
  let last = first;
  do {
    for (const pid of runningMosquittos(directory)) signal(pid, directory);
    for (const waitMs of WAITS_MS) {
      last = await askForMarker(settings, facts);
      if (last === "loaded") return "reloaded";
      await delay(waitMs);
    }
    // Gone meanwhile: when it starts again it reads the files that are there.
    if (isSeen && last === "silent" && runningMosquittos(directory).length === 0) return "silent";
  } while (performance.now() < deadlineMs);
  throw notReloaded(output, isSeen, last);
}

function notReloaded({ directory, settings }: Output, isSeen: boolean, last: Answer): HawserError {
  const address = `${addressOf(settings)}:${settings.pskPort}`;
  if (isSeen && last === "silent") {
    const next =
      "Give the address under which this machine reaches it (hawser broker config --reach), then run: hawser broker sync --dir CA";
    return new HawserError(
      "OUTPUT_NOT_RELOADED",
      `the mosquitto that uses ${directory} does not answer at ${address}; it may not have loaded its new files`,
      next,
    );
  }
  if (isSeen)
    return new HawserError(
      "OUTPUT_NOT_RELOADED",
      `the mosquitto that uses ${directory} did not load its new files`,
      "See its log, then restart it.",
    );
  const next = "Send the broker SIGHUP where it runs (docker kill -s HUP NAME), then run: hawser broker sync --dir CA";
  return new HawserError(
    "OUTPUT_NOT_RELOADED",
    `the broker at ${address} has not loaded the new files in ${directory}, and its process was not found on this machine`,
    next,
  );
}

/** Where a broker is reached from this machine. */
export function addressOf({ reach, bind }: Pick<MosquittoSettings, "reach" | "bind">): string {
  if (reach !== undefined) return reach;
  return bind === undefined || bind === "0.0.0.0" || bind === "::" ? "localhost" : bind;
}

function signal(pid: number, directory: string): void {
  try {
    process.kill(pid, "SIGHUP");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return;
    throw new HawserError(
      "OUTPUT_NOT_RELOADED",
      `mosquitto (process ${pid}) could not be signalled to reload ${directory}: ${errorMessage(error)}`,
      `As its user or root, run: kill -HUP ${pid}`,
    );
  }
}

/** Whether the broker that runs was started with this configuration, and not only told to reload it. */
export async function wasStartedWith(settings: MosquittoSettings, facts: BrokerFacts): Promise<boolean> {
  let shown: string | null = null;
  const answer = await askForMarker(settings, facts, (hint) => (shown = hint));
  return answer === "loaded" && shown === pskHint(settings);
}

export type Answer = "loaded" | "stale" | "silent";

/** No answer at all: nothing listens there, or the way there is cut. */
const SILENCES = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTDOWN",
]);

function askForMarker(settings: MosquittoSettings, facts: BrokerFacts, onHint?: (hint: string | null) => void): Promise<Answer> {
  return askAt({ host: addressOf(settings), port: settings.pskPort }, loadedMarker(facts), onHint);
}

/** Whether the broker knows this marker: one TLS handshake on the PSK port. */
export function askAt(
  { host, port }: { readonly host: string; readonly port: number },
  { identity, key }: Pick<NamedKey, "identity" | "key">,
  onHint: (hint: string | null) => void = () => undefined,
): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port,
      // Node speaks PSK in TLS 1.2 only.
      maxVersion: "TLSv1.2",
      ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
      pskCallback: (hint) => {
        onHint(hint);
        return { identity, psk: key };
      },
      // There is no certificate: knowing the key is the proof.
      checkServerIdentity: () => undefined,
    });
    let isConnected = false;
    const settle = (answer: Answer): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => (isConnected = true));
    socket.setTimeout(PROBE_LIMIT_MS, () => settle(isConnected ? "stale" : "silent"));
    socket.once("secureConnect", () => settle("loaded"));
    socket.on("error", (error) => settle(!isConnected && isSilence(error) ? "silent" : "stale"));
    socket.once("close", () => settle("stale"));
  });
}

/** Several addresses of one name that all refuse come as one error of several. */
function isSilence(error: Error): boolean {
  if (error instanceof AggregateError) return error.errors.every((each: unknown) => each instanceof Error && isSilence(each));
  return "code" in error && SILENCES.has(String(error.code));
}
