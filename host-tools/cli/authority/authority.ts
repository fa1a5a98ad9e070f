/** Runs the enrolment service. */
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import { probeBroker } from "../../authority/broker-reachable.js";
import type { SharedServiceEvent } from "../../authority/shared-service.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { FILES } from "../../ca-directory/directory-layout.js";
import { toPem } from "../../pki/pem.js";
import { lockNow } from "../../../sim/node/files/process-lock.js";
import { serveAgents } from "./agent-service.js";
import type { AgentService } from "./agent-service.js";
import type { Context } from "../command-runner.js";
import { enrolmentService, sharedEnrolmentService } from "../enrolment-service.js";
import { FirstConnection } from "../first-connection.js";
import { keptCrl } from "../crl-renewal-service.js";
import { keepReplica } from "../replica-service.js";
import { keepSessions } from "../session-ending-service.js";
import { openCaOf } from "../opened-ca.js";
import { serveCrls } from "../crl-publication.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { StopSignal } from "../stop-signal.js";
import type { Colour, Json, Terminal } from "../terminal.js";
import { brokerUrl } from "../flag-values.js";
import { watchPassphrase } from "../watched-passphrase.js";

export interface AuthorityOptions extends PassphraseOptions {
  dir: string;
  url: Endpoint;
  connectTimeout: number;
  crlPort?: number;
  crlHost: string;
  ocsp?: boolean;
  agents?: number;
  agentsHost?: string;
  shared?: boolean;
  json?: boolean;
}

const PROBE_MS = 10_000;
const PROBE_PAUSE_MS = 500;

export async function runAuthority(options: AuthorityOptions, context: Context): Promise<void> {
  const { terminal } = context;
  if (options.ocsp === true && options.crlPort === undefined)
    throw new HawserError("USAGE", "--ocsp is answered at the port of the revocation lists", "Give --crl-port too.");
  const ca = await openCaOf(options, context);
  const lock = lockNow(join(ca.directory, FILES.authorityLock), (pid) => running(ca.directory, pid));
  try {
    await runOnCa(options, ca, context);
  } finally {
    lock.release();
  }
  terminal.event("stopped", {}, "in an orderly way");
}

function running(directory: string, pid: number | undefined): HawserError {
  return new HawserError(
    "AUTHORITY_RUNNING",
    `another authority${pid === undefined ? "" : ` (process ${pid})`} runs on the CA in ${directory}`,
    "One at a time: stop that one. Several at one broker need a shared registry and a directory each: see docs/registry.md.",
  );
}

async function runOnCa(options: AuthorityOptions, ca: CertificateAuthority, context: Context): Promise<void> {
  const { terminal, stop } = context;
  const first = new FirstConnection(brokerUrl(options.url), options.connectTimeout);
  const crl = keptCrl(ca, terminal);
  await crl.start();
  const keptSessions = keepSessions(ca, terminal);
  const keptReplica = keepReplica(ca, terminal);
  const lists =
    options.crlPort === undefined
      ? undefined
      : await serveCrls(options.dir, options.crlPort, options.crlHost, terminal, options.ocsp === true ? ca : undefined);
  const loss = new Loss();
  const unwatch = watchPassphrase(ca, (error) => loss.report(error));
  let agents: AgentService | undefined;
  try {
    if (options.agents !== undefined) agents = await serveAgents(ca, options.agents, options.agentsHost, terminal);
    await Promise.race([brokerFound(options.url, ca, first, stop), first.settled, loss.reported]);
    if (!stop.requested) await serve(options, ca, first, loss, context);
  } finally {
    unwatch();
    crl.stop();
    keptSessions();
    keptReplica();
    await lists?.close();
    await agents?.close();
    first.succeeded();
  }
}

/** What the service will not get over by itself. */
class Loss {
  report: (error: HawserError) => void = () => undefined;
  readonly reported = new Promise<never>((_resolve, reject) => (this.report = reject));

  constructor() {
    this.reported.catch(() => undefined);
  }
}

async function serve(
  options: AuthorityOptions,
  ca: CertificateAuthority,
  first: FirstConnection,
  loss: Loss,
  { terminal, stop }: Context,
): Promise<void> {
  const onEvent = (event: SharedServiceEvent): void => {
    printServiceEvent(terminal, event, brokerUrl(options.url));
    if (event.event === "connected") first.succeeded();
    // A plain refusal is no verdict: the broker may still be reading the rights just written for this service.
    if (event.event === "disconnected") first.failed(event.failure, event.failure.class === "server-trust");
  };
  const service =
    options.shared === true
      ? await sharedEnrolmentService(ca, options.url, { onEvent, onLost: (error) => loss.report(error) })
      : await enrolmentService(ca, options.url, onEvent);
  service.start();
  try {
    await Promise.race([first.settled, stop.asked, loss.reported]);
    await Promise.race([stop.asked, loss.reported]);
  } finally {
    await service.stop();
  }
}

/** Resolves when the broker is there and proved itself, or when a stop is asked for. */
async function brokerFound(endpoint: Endpoint, ca: CertificateAuthority, first: FirstConnection, stop: StopSignal): Promise<void> {
  const anchors = ca.trustAnchors.map((der) => toPem("CERTIFICATE", der)).join("");
  while (!stop.requested) {
    const fault = await Promise.race([probeBroker(endpoint, anchors, PROBE_MS), stop.asked]);
    if (fault === undefined) return;
    first.failed(fault, fault.class === "server-trust");
    await Promise.race([new Promise((resolve) => setTimeout(resolve, PROBE_PAUSE_MS)), stop.asked, first.settled]);
  }
}

export function printServiceEvent(terminal: Terminal, event: SharedServiceEvent, url: string): void {
  const { event: name, ...fields } = event;
  if (event.event === "disconnected") {
    const { code, class: kind, message } = event.failure;
    terminal.event(name, { code, class: kind, message, wasConnected: event.wasConnected }, `${code}: ${message}`, "yellow");
  } else if (event.event === "connected") {
    terminal.event(name, { url, name: event.name, resumedSession: event.resumedSession }, `to ${url} as ${event.name}`, "green");
  } else {
    terminal.event(name, fields as Readonly<Record<string, Json>>, summary(event), COLOURS[event.event] ?? "cyan");
  }
}

const COLOURS: Partial<Record<SharedServiceEvent["event"], Colour>> = {
  issued: "green",
  refused: "yellow",
  "in-use": "red",
  failed: "red",
  ignored: "dim",
  retrying: "yellow",
  throttled: "yellow",
  resting: "yellow",
};

function summary(event: Exclude<SharedServiceEvent, { event: "connected" | "disconnected" }>): string {
  switch (event.event) {
    case "issued":
      return `${event.id}: certificate ${event.serial}${event.repeated ? ", once more" : ""}`;
    case "refused":
      return `${event.id}: ${event.code}: ${event.reason}`;
    case "in-use":
      return `${event.id}: somebody without the key of ${event.serial}, which is in use, asks for a certificate`;
    case "active":
      return `${event.id} uses ${event.serial}${event.retired.length === 0 ? "" : `; retired ${event.retired.join(", ")}`}`;
    case "throttled":
      return `${event.id} sends too much; its messages are dropped unread`;
    case "ignored":
      return `${event.id === "" ? "a message" : event.id}: ${event.reason}`;
    case "failed":
      return `${event.id}: ${event.code}: ${event.reason}`;
    case "resting":
      return `leaves the requests to the others: ${event.code}: ${event.reason}`;
    case "retrying":
      return `in ${(event.delayMs / 1000).toFixed(1)} s`;
  }
}
