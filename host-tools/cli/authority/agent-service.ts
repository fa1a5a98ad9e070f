/** The port for agents, as long as `hawser authority` runs: follows the CA's brokers, and ends what is owed where an agent comes back. */
import { errorCode, errorMessage, HawserError } from "../../../sdk/errors.js";
import { AgentHub } from "../../broker-agent/agent-hub.js";
import type { AgentBroker, HubEvent } from "../../broker-agent/agent-hub.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import type { Colour, Terminal } from "../terminal.js";

const LIFETIME_MS = 24 * 3_600_000;

export interface AgentService {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws HawserError `LISTEN_FAILED`, `PORT_IN_USE` */
export async function serveAgents(
  ca: CertificateAuthority,
  port: number,
  host: string | undefined,
  terminal: Terminal,
): Promise<AgentService> {
  let brokers: readonly AgentBroker[] = await ca.agentBrokers();
  const troubled = (error: unknown): void =>
    terminal.event(
      "sync-failed",
      { code: errorCode(error), message: errorMessage(error) },
      `${errorCode(error)}: ${errorMessage(error)}`,
      "red",
    );
  const onEvent = (event: HubEvent): void => {
    const { event: name, ...fields } = event;
    terminal.event(name, fields, said(event), COLOURS[name]);
    // Sessions that could not be ended while it was away.
    if (name === "agent-connected") ca.syncOutputs().catch(troubled);
  };
  const identity = await ca.agentHubIdentity(LIFETIME_MS);
  const hub = await AgentHub.start({
    port,
    ...(host === undefined ? {} : { host }),
    identity,
    brokers: () => brokers,
    onEvent,
  }).catch((error: unknown) => {
    throw notListening(error, port);
  });
  const unwatch = watchCa(ca.directory, () => void ca.agentBrokers().then((now) => (brokers = now), troubled));
  const renewal = setInterval(() => void ca.agentHubIdentity(LIFETIME_MS).then((next) => hub.renew(next), troubled), LIFETIME_MS / 3);
  terminal.event("agents-ready", { port: hub.port }, `agents may ask on port ${hub.port}`, "green");
  return {
    port: hub.port,
    close: async () => {
      unwatch();
      clearInterval(renewal);
      await hub.close();
    },
  };
}

const COLOURS: Readonly<Record<HubEvent["event"], Colour>> = {
  "agent-connected": "green",
  "agent-updated": "cyan",
  "agent-failed": "red",
  "agent-refused": "yellow",
};

function said(event: HubEvent): string {
  switch (event.event) {
    case "agent-connected":
      return `${event.broker}: ${event.isServing ? `serves with configuration ${event.applied}` : "its broker does not serve yet"}`;
    case "agent-updated":
      return `${event.broker}: configuration ${event.applied}`;
    case "agent-failed":
      return `${event.broker}: ${event.why}`;
    case "agent-refused":
      return `an agent at ${event.address} that no broker here has: ${event.certificate === "" ? "no certificate" : event.certificate}`;
  }
}

function notListening(error: unknown, port: number): HawserError {
  const isTaken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
  return new HawserError(
    isTaken ? "PORT_IN_USE" : "LISTEN_FAILED",
    `port ${port} for agents could not be opened: ${errorMessage(error)}`,
    "Choose another port with --agents.",
  );
}
