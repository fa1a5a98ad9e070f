/** `broker agent-init` and `broker agent`. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { BrokerAgent } from "../../broker-agent/agent.js";
import type { AgentEvent } from "../../broker-agent/agent.js";
import { makeAgentDirectory } from "../../broker-agent/agent-identity.js";
import { agentUnit } from "../../broker-agent/agent-unit.js";
import { findMosquitto } from "../../brokers/mosquitto/mosquitto-process.js";
import type { Context } from "../command-runner.js";
import type { Colour } from "../terminal.js";
import { hostAndPort } from "../flag-values.js";

export interface AgentInitOptions {
  dir: string;
  ca: string;
  authority: Endpoint;
  out: string;
  json?: boolean;
}

const UNIT_FILE = "hawser-broker-agent.service";

export async function initAgent(options: AgentInitOptions, { terminal }: Context): Promise<void> {
  const directory = resolve(options.dir);
  const out = resolve(options.out);
  const { fingerprint } = await makeAgentDirectory(directory, readFileSync(options.ca, "utf8"));
  const unit = join(directory, UNIT_FILE);
  writeFileAtomic(unit, agentUnit({ directory, out, authority: hostAndPort(options.authority) }), 0o644);
  terminal.result({ dir: directory, fingerprint, unit }, [
    `${directory}: the agent's key. Its fingerprint: ${fingerprint}`,
    `On the CA's machine: hawser broker config --agent ${fingerprint} --agent-dir ${out} ...`,
    `Unit for systemd: ${unit}`,
  ]);
}

export interface AgentRunOptions {
  dir: string;
  authority: Endpoint;
  out: string;
  alone?: number;
  mosquitto?: string;
  json?: boolean;
}

export async function runAgent(options: AgentRunOptions, { terminal, stop }: Context): Promise<void> {
  const { dir, authority, out, alone } = options;
  const mosquitto = options.mosquitto ?? findMosquitto();
  if (mosquitto === undefined)
    throw new HawserError("MOSQUITTO_MISSING", "mosquitto was not found", "Install it, or give its path with --mosquitto.");
  const agent = new BrokerAgent({
    home: resolve(dir),
    out: resolve(out),
    authority,
    ...(alone === undefined ? {} : { aloneMs: alone }),
    mosquitto,
    onEvent: (event) => {
      const { event: name, ...fields } = event;
      terminal.event(name, fields, said(event), COLOURS[event.event]);
    },
  });
  await agent.run(stop.asked);
  terminal.event("stopped", {}, "in an orderly way");
}

const COLOURS: Readonly<Record<AgentEvent["event"], Colour>> = {
  connected: "green",
  serving: "green",
  "cut-off": "yellow",
  shut: "red",
  failed: "red",
  "broker-ended": "red",
};

function said(event: AgentEvent): string {
  switch (event.event) {
    case "connected":
      return "to the authority";
    case "serving":
      return `with configuration ${event.sequence}`;
    case "shut":
      return `the broker was stopped: ${event.why}`;
    case "broker-ended":
      return `mosquitto ended by itself (${event.why}) and is started again`;
    default:
      return `${event.code}: ${event.message}`;
  }
}
