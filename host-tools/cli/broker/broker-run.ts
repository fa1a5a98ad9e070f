/** Runs a broker in the foreground, and has it follow its CA directory. */
import { errorCode, errorMessage } from "../../../sdk/errors.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import type { Context } from "../command-runner.js";
import { printBrokerEvent } from "../foreground-broker/broker-lines.js";
import type { BrokerEngine } from "../foreground-broker/broker-engine.js";
import { keptCrl } from "../crl-renewal-service.js";
import { keepReplica } from "../replica-service.js";
import { keepSessions } from "../session-ending-service.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { Terminal } from "../terminal.js";

export interface BrokerRunOptions extends PassphraseOptions {
  dir: string;
  engine: "embedded" | "mosquitto";
  mtlsPort: number;
  pskPort: number;
  json?: boolean;
}

export async function runBroker(options: BrokerRunOptions, context: Context): Promise<void> {
  const { terminal, stop } = context;
  const ca = await openCaOf(options, context, ["OUTPUT_GONE"]);
  const crl = keptCrl(ca, terminal);
  await crl.start();
  const keptSessions = keepSessions(ca, terminal);
  const keptReplica = keepReplica(ca, terminal);
  try {
    const engine = await startEngine(options, ca, terminal);
    const unwatch = watchCa(ca.directory, reloader(engine, terminal));
    try {
      const { mtlsPort, pskPort, note } = engine;
      const ready = `${options.engine} broker on localhost: certificates on port ${mtlsPort}, pre-shared keys on port ${pskPort}${note === undefined ? "" : ` (${note})`}`;
      terminal.event("ready", { engine: options.engine, host: "localhost", mtlsPort, pskPort, note }, ready, "green");
      const death = await Promise.race([stop.asked, engine.died]);
      if (death !== undefined) throw death;
    } finally {
      unwatch();
      await engine.stop();
    }
  } finally {
    crl.stop();
    keptSessions();
    keptReplica();
  }
  terminal.event("stopped", {}, "in an orderly way");
}

async function startEngine(
  { engine, mtlsPort, pskPort }: BrokerRunOptions,
  ca: CertificateAuthority,
  terminal: Terminal,
): Promise<BrokerEngine> {
  const ports = { mtlsPort, pskPort };
  if (engine === "embedded") {
    const { startEmbedded } = await import("../foreground-broker/embedded-engine.js");
    return startEmbedded(ca, ports, (event) => printBrokerEvent(terminal, event));
  }
  const { startMosquittoEngine } = await import("../foreground-broker/mosquitto-engine.js");
  return startMosquittoEngine(ca, ports, (line) => terminal.event("log", { line }, line, "dim"));
}

/** One reload after the other; a burst of changes needs no more than one after the one at work. */
function reloader(engine: BrokerEngine, terminal: Terminal): () => void {
  let working = false;
  let again = false;
  const reload = async (): Promise<void> => {
    working = true;
    do {
      again = false;
      await engine.reload().then(
        () => terminal.event("reloaded", {}, "the CA directory changed"),
        (error: unknown) =>
          terminal.event(
            "reload-failed",
            { code: errorCode(error), message: errorMessage(error) },
            `${errorCode(error)}: ${errorMessage(error)}`,
            "red",
          ),
      );
    } while (again);
    working = false;
  };
  return () => {
    again = true;
    if (!working) void reload();
  };
}
