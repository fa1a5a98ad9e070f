/** `outputs.json` of a CA directory: the broker configurations that every change of the CA has to reach. */
import { isAbsolute } from "node:path";
import { readCaJson } from "./ca-files.js";
import type { CaFiles } from "./ca-files.js";
import { FILES } from "./directory-layout.js";
import { parseMosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import type { OwedEnd } from "./sessions-to-end.js";
import type { MosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";

export interface Output {
  readonly engine: "mosquitto";
  /** Absolute, without symbolic links. */
  readonly directory: string;
  readonly settings: MosquittoSettings;
  /** Set for a broker on another machine, whose agent fetches these files. */
  readonly agent?: OutputAgent;
  /** Where machines share the CA: the one that has this directory, and alone keeps it up to date. */
  readonly machine?: string;
  /** Sessions at this broker that have to end, and are not proved to have. */
  readonly owed: readonly OwedEnd[];
  /** Sessions of certificates that expired until then were ended; milliseconds since the epoch. */
  readonly sweptAtMs: number;
}

export interface OutputAgent {
  /** SHA-256 of the agent's certificate, hex. */
  readonly certificate: string;
  /** Where the files are on the broker's machine, absolute. */
  readonly directory: string;
}

export function outputsText(outputs: readonly Output[]): string {
  return `${JSON.stringify({ v: 1, outputs }, null, 2)}\n`;
}

/** @throws HawserError `CA_CORRUPT` */
export function readOutputs(files: CaFiles): Output[] {
  const value = readCaJson(files, FILES.outputs);
  const list = value["v"] === 1 && Array.isArray(value["outputs"]) ? value["outputs"].map(parseOutput) : [undefined];
  if (list.every((output) => output !== undefined)) return list;
  throw files.directory.corrupt(FILES.outputs, "it is not a list of broker configurations");
}

/** Those that this machine keeps up to date: all of them, where the CA is not shared. */
export function outputsHere(outputs: readonly Output[], here: string | undefined): Output[] {
  return outputs.filter(({ machine }) => machine === here);
}

function parseOutput(value: unknown): Output | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { engine, directory, settings, agent, machine, owed = [], sweptAtMs = 0 } = value as Record<string, unknown>;
  const parsed = parseMosquittoSettings(settings);
  if (engine !== "mosquitto" || typeof directory !== "string" || !isAbsolute(directory) || parsed === undefined) return undefined;
  if (!Array.isArray(owed) || !owed.every(isOwedEnd) || typeof sweptAtMs !== "number") return undefined;
  if (agent !== undefined && !isAgent(agent)) return undefined;
  if (machine !== undefined && (typeof machine !== "string" || !/^[0-9a-f]{32}$/.test(machine))) return undefined;
  return {
    engine,
    directory,
    settings: parsed,
    ...(agent === undefined ? {} : { agent }),
    ...(machine === undefined ? {} : { machine }),
    owed,
    sweptAtMs,
  };
}

function isAgent(value: unknown): value is OutputAgent {
  if (typeof value !== "object" || value === null) return false;
  const { certificate, directory } = value as Record<string, unknown>;
  return typeof certificate === "string" && /^[0-9a-f]{64}$/.test(certificate) && typeof directory === "string" && isAbsolute(directory);
}

function isOwedEnd(value: unknown): value is OwedEnd {
  if (typeof value !== "object" || value === null) return false;
  const { userName, hold } = value as Record<string, unknown>;
  return typeof userName === "string" && (hold === "now" || hold === "later" || hold === "never");
}
