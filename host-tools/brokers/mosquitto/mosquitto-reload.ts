/**
 * Makes a running mosquitto read its files again, and proves that it did. A signal alone proves nothing: mosquitto 2.0 forgets a SIGHUP that arrives while
 * it is busy with an earlier one, and would go on with a revoked device's rights.
 */
import { connect } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { loadedMarker } from "./mosquitto-config.js";
import type { BrokerFacts, MosquittoSettings } from "./mosquitto-config.js";
import { runningMosquitto } from "./mosquitto-process.js";
import type { Output } from "../../ca-directory/outputs-file.js";

/** A reload takes milliseconds, on a machine in trouble a second. */
const RELOAD_LIMIT_MS = 20_000;
/** Between looking and looking again after a signal; after the last one the signal is taken for lost. */
const WAITS_MS = [10, 30, 100, 300];
const PROBE_LIMIT_MS = 2000;

/**
 * Brings the broker of a configuration, if one runs, to the state its files have.
 *
 * @param force reload even if the broker shows that it has this state (settings outside of the facts changed)
 * @returns whether it had to be told
 * @throws HawserError `OUTPUT_NOT_RELOADED`
 */
export async function bringUpToDate({ directory, settings }: Output, facts: BrokerFacts, force: boolean, limitMs = RELOAD_LIMIT_MS): Promise<boolean> {
  if (runningMosquitto(directory) === undefined) return false;
  if (!force && (await hasLoaded(settings, facts))) return false;
  const deadlineMs = performance.now() + limitMs;
  do {
    const pid = runningMosquitto(directory);
    // Gone meanwhile: when it starts again it reads the files that are there.
    if (pid === undefined) return false;
    signal(pid, directory);
    for (const waitMs of WAITS_MS) {
      if (await hasLoaded(settings, facts)) return true;
      await delay(waitMs);
    }
  } while (performance.now() < deadlineMs);
  throw new HawserError("OUTPUT_NOT_RELOADED", `the mosquitto that runs with ${directory} did not take over its new files`, "Look at its log, then restart it.");
}

/** Where a broker on this machine is reached. */
export function localAddress(bind: string | undefined): string {
  return bind === undefined || bind === "0.0.0.0" || bind === "::" ? "localhost" : bind;
}

function signal(pid: number, directory: string): void {
  try {
    process.kill(pid, "SIGHUP");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return;
    throw new HawserError("OUTPUT_NOT_RELOADED", `mosquitto (process ${pid}) could not be told to reload ${directory}: ${errorMessage(error)}`, `As its user or root, run: kill -HUP ${pid}`);
  }
}

/** Whether the broker knows the marker of these facts: one TLS handshake on the PSK port. */
function hasLoaded(settings: MosquittoSettings, facts: BrokerFacts): Promise<boolean> {
  const { identity, key } = loadedMarker(facts);
  return new Promise((resolve) => {
    const socket = connect({
      host: localAddress(settings.bind),
      port: settings.pskPort,
      // Node speaks PSK in TLS 1.2 only.
      maxVersion: "TLSv1.2",
      ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
      pskCallback: () => ({ identity, psk: key }),
      // There is no certificate: knowing the key is the proof.
      checkServerIdentity: () => undefined,
    });
    const settle = (loaded: boolean): void => {
      socket.destroy();
      resolve(loaded);
    };
    socket.setTimeout(PROBE_LIMIT_MS, () => settle(false));
    socket.once("secureConnect", () => settle(true));
    socket.on("error", () => settle(false));
    socket.once("close", () => settle(false));
  });
}
