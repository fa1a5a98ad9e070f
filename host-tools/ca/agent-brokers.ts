/** Brokers on other machines: what the CA leaves for their agents, and how it learns what became of it. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HawserError } from "../../sdk/errors.js";
import { writeFileAtomic } from "../../sim/node/files/atomic-file.js";
import type { AgentBroker, HubIdentity } from "../broker-agent/agent-hub.js";
import { HUB_HOST } from "../broker-agent/agent-protocol.js";
import { bundleSequence, readReport, SPOOL_FILES } from "../broker-agent/agent-spool.js";
import type { AgentReport } from "../broker-agent/agent-spool.js";
import { BUNDLE_SIGNER, signBundle } from "../broker-agent/bundle.js";
import { compileMosquitto } from "../brokers/mosquitto/mosquitto-config.js";
import type { BrokerFacts } from "../brokers/mosquitto/mosquitto-config.js";
import type { Loading } from "../brokers/mosquitto/mosquitto-reload.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import { outputsHere, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output, OutputAgent } from "../ca-directory/outputs-file.js";
import { passingCredentials } from "./clients.js";
import type { CaKeys } from "./context.js";

const SIGNER_LIFETIME_MS = 5 * 60_000;
/** A reload takes milliseconds, a restart a second, on a machine in trouble several. */
const APPLY_LIMIT_MS = 20_000;
const LOOK_MS = 10;

/** Signs the configuration as it is now and leaves it for the agent. */
export async function publishBundle(
  { directory, settings }: Output,
  agent: OutputAgent,
  facts: BrokerFacts,
  keys: CaKeys,
  nowMs: number,
): Promise<void> {
  const { bind, pskPort, user } = settings;
  const sequence = Math.max(bundleSequence(directory) + 1, nowMs);
  const signedAtMs = Date.now();
  const content = {
    agent: agent.certificate,
    sequence,
    issuedAtMs: signedAtMs,
    user,
    probe: { host: bind === undefined || bind === "0.0.0.0" || bind === "::" ? "localhost" : bind, port: pskPort },
    files: Object.fromEntries(compileMosquitto(agent.directory, settings, facts)),
  };
  const text = signBundle(content, await passingCredentials(keys, BUNDLE_SIGNER, signedAtMs, SIGNER_LIFETIME_MS));
  writeFileAtomic(join(directory, SPOOL_FILES.bundle), text);
}

/** Whether the agent needs another bundle though nothing changed: there is none, or somebody put an older one back. */
export function lacksBundle(directory: string): boolean {
  const sequence = bundleSequence(directory);
  return sequence === 0 || sequence < (readReport(directory)?.applied ?? 0);
}

/**
 * Waits until the agent has had its broker load the bundle that lies there.
 *
 * @returns `silent` when the agent is away: it was not heard of when it should have been
 * @throws HawserError `OUTPUT_NOT_RELOADED` when it says what is wrong, or nothing in time
 */
export async function awaitAgent({ directory }: Output, limitMs = APPLY_LIMIT_MS): Promise<Loading> {
  const sequence = bundleSequence(directory);
  const deadlineMs = performance.now() + limitMs;
  for (let isFirst = true; ; isFirst = false) {
    const report = readReport(directory);
    if (isAway(report)) return "silent";
    if (report.applied >= sequence && report.isServing) return isFirst ? "loaded" : "reloaded";
    if (report.failed !== undefined && report.failed.sequence >= sequence) throw notApplied(directory, report.failed.why);
    if (performance.now() >= deadlineMs) throw notApplied(directory, "it has not answered in time");
    await delay(LOOK_MS);
  }
}

function isAway(report: AgentReport | undefined): report is undefined {
  return report === undefined || Date.now() > report.nextMs;
}

function notApplied(directory: string, why: string): HawserError {
  return new HawserError(
    "OUTPUT_NOT_RELOADED",
    `the agent of the broker in ${directory} could not bring it up to date: ${why}`,
    "See the agent's log there, then run: hawser broker sync --dir CA",
  );
}

/** Of an agent that is away, when sessions of `names` should end. */
export function agentAway(directory: string, names: string): HawserError {
  const report = readReport(directory);
  const heard = report === undefined ? "was never heard of" : `was last heard of at ${new Date(report.seenAtMs).toISOString()}`;
  const until =
    report?.aloneMs === undefined
      ? `its broker may serve ${names} until the agent is back`
      : `its broker may serve ${names} until ${new Date(report.seenAtMs + report.aloneMs).toISOString()}, and then stops`;
  return new HawserError(
    "OUTPUT_UNPROVED",
    `the agent of the broker in ${directory} ${heard}: ${until}`,
    "Check that hawser authority --agents runs and that the agent reaches it. It gets the new files first; hawser authority then ends the old sessions.",
  );
}

/** For the port that agents ask at: short, its key in memory alone. */
export function hubIdentity(keys: CaKeys, nowMs: number, lifetimeMs: number): Promise<HubIdentity> {
  return passingCredentials(keys, HUB_HOST, nowMs, lifetimeMs, { kind: "broker", hosts: [HUB_HOST] });
}

/** The brokers whose agents may ask this machine: see {@link outputsHere}. */
export function agentBrokers(files: CaFiles, machine: string | undefined): AgentBroker[] {
  return outputsHere(readOutputs(files), machine).flatMap(({ directory, agent }) =>
    agent === undefined ? [] : [{ directory, certificate: agent.certificate }],
  );
}
