/**
 * The directory of a broker that an agent looks after, on the CA's machine: the bundle that the agent is to have, and what was heard of it
 * last.
 */
import { closeSync, openSync, readFileSync, readSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryPath, unlinkIfThere } from "../../sim/node/files/atomic-file.js";
import { sequenceOf } from "./bundle.js";

export const SPOOL_FILES = { bundle: "bundle.json", agent: "agent.json" } as const;

/** What an agent says of its broker, and when. */
export interface AgentReport {
  readonly seenAtMs: number;
  /** The agent asks again by then, if it can. */
  readonly nextMs: number;
  /** The bundle whose files its broker has loaded. */
  readonly applied: number;
  readonly isServing: boolean;
  /** How long its broker serves without word from the authority; left out where it does not stop. */
  readonly aloneMs?: number;
  /** The bundle that it could not bring into its broker, and why. */
  readonly failed?: { readonly sequence: number; readonly why: string };
}

export function readBundle(directory: string): string | undefined {
  return readText(join(directory, SPOOL_FILES.bundle));
}

/** The sequence of the bundle that lies there, by its first bytes; 0 when there is none. */
export function bundleSequence(directory: string): number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(join(directory, SPOOL_FILES.bundle), "r");
    const head = Buffer.alloc(64);
    return sequenceOf(head.toString("latin1", 0, readSync(descriptor, head, 0, head.length, 0)));
  } catch {
    return 0;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** A report tells what is; it need not survive a power cut, but is never half there. */
export function writeReport(directory: string, report: AgentReport): void {
  const path = join(directory, SPOOL_FILES.agent);
  const temporary = temporaryPath(path);
  try {
    writeFileSync(temporary, `${JSON.stringify(report)}\n`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    unlinkIfThere(temporary);
    throw error;
  }
}

export function readReport(directory: string): AgentReport | undefined {
  try {
    const value = JSON.parse(readText(join(directory, SPOOL_FILES.agent)) ?? "null") as Partial<AgentReport> | null;
    const { seenAtMs, nextMs, applied, isServing } = value ?? {};
    if (typeof seenAtMs !== "number" || typeof nextMs !== "number" || typeof applied !== "number") return undefined;
    return typeof isServing === "boolean" ? (value as AgentReport) : undefined;
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
