/** Writes the configuration of a broker and remembers it. */
import { isAbsolute, join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { chooseUser } from "../brokers/mosquitto/broker-user.js";
import type { ChosenUser } from "../brokers/mosquitto/broker-user.js";
import { checkMosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import type { MosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import { prepareDirectory, removeConfiguration, writeConfiguration } from "../brokers/mosquitto/mosquitto-output.js";
import { findControlPlugin } from "../brokers/mosquitto/mosquitto-process.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { outputsHere, outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output, OutputAgent } from "../ca-directory/outputs-file.js";
import { publishBundle } from "./agent-brokers.js";
import { brokerFacts, withHeld } from "./broker-facts.js";
import type { CaContext } from "./context.js";
import { OutputBinding, successor } from "./broker-folder-binding.js";

export interface BrokerConfigRequest {
  readonly engine: "mosquitto";
  /** The directory to write: new, empty, or written by hawser before. */
  readonly out: string;
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** A listener for backends, operators and the authority, who then have no rights on the mTLS port. */
  readonly backendPort?: number;
  /** Address to listen on; all interfaces when left out. */
  readonly bind?: string;
  /** Host under which this machine reaches the broker, where that differs from where it listens (a container, another machine). */
  readonly reach?: string;
  /**
   * mosquitto's dynamic-security plugin as the broker finds it; looked for on this machine when left out. Without it (false) only a restart
   * of the broker ends sessions.
   */
  readonly plugin?: string | false;
  /** Let clients leave retained messages, which mosquitto does not bound. */
  readonly retain?: boolean;
  /** Log each publish, and those that are denied, for a monitor behind a pipe. */
  readonly logPublishes?: boolean;
  /** The user mosquitto becomes when started as root; chosen by hawser when left out. */
  readonly user?: string;
  /** For a broker on another machine: its agent's certificate, and where the files are there. Needs `reach`. */
  readonly agent?: OutputAgent;
  /** `out` may be another CA's, or of the CA that this is a copy of; see {@link OutputBinding}. */
  readonly takeOver?: boolean;
}

export interface WrittenBrokerConfig {
  readonly directory: string;
  /** For `mosquitto -c`. */
  readonly configFile: string;
  readonly files: readonly string[];
  readonly user: string;
  /** Something the operator should know. */
  readonly note?: string;
}

/**
 * Writes a broker configuration and remembers it, so that every change of the CA reaches it.
 *
 * @throws HawserError `BAD_PORT`, `BAD_HOST`, `OUT_EXISTS`, `UNKNOWN_USER`, `OUTPUT_TAKEN`, `OUTPUT_NEWER`, `OUTPUT_REFUSED`, and those of
 *   every change
 */
export async function writeBrokerConfig(ca: CaContext, request: BrokerConfigRequest): Promise<WrittenBrokerConfig> {
  const { plugin, ...rest } = request;
  checkMosquittoSettings({ ...rest, ...(plugin === undefined || plugin === false ? {} : { plugin }) });
  const { agent } = request;
  if (agent !== undefined) checkAgent(agent, request);
  return ca.store.change(async (draft) => {
    const { directory, made } = prepareDirectory(request.out);
    try {
      const { mtlsPort, pskPort, backendPort } = request;
      const { name: user, note }: ChosenUser =
        agent === undefined ? chooseUser(directory, request.user) : { name: request.user ?? "mosquitto" };
      const known = readOutputs(draft);
      const before = outputsHere(known, draft.machine).find((output) => output.directory === directory);
      const output: Output = {
        owed: [],
        sweptAtMs: draft.nowMs,
        ...withoutAgent(before),
        engine: "mosquitto",
        directory,
        settings: { ...settingsOf(request), ...restartsOf(before), user },
        ...(agent === undefined ? {} : { agent }),
        ...(draft.machine === undefined ? {} : { machine: draft.machine }),
      };
      const facts = withHeld(brokerFacts(draft, ca.keys, draft), output.owed);
      const binding = new OutputBinding(ca.store.files);
      await binding.check(directory, request.takeOver === true ? successor(ca.keys, facts, draft, draft.nowMs) : undefined);
      const files = await writeConfiguration(output, facts, ca.directory.pathOf(DIRECTORIES.trial), () => binding.bind(directory));
      if (agent !== undefined) await publishBundle(output, agent, facts, ca.keys, draft.nowMs);
      draft.write(FILES.outputs, outputsText([...known.filter((other) => other !== before), output]));
      draft.record({ event: "broker-configured", directory, mtlsPort, pskPort, ...(backendPort === undefined ? {} : { backendPort }) });
      return { directory, configFile: join(directory, "mosquitto.conf"), files, user, ...(note === undefined ? {} : { note }) };
    } catch (error) {
      if (made) removeConfiguration(directory);
      throw error;
    }
  });
}

/** @throws HawserError `BAD_CONFIG` */
function checkAgent({ certificate, directory }: OutputAgent, { reach, user }: BrokerConfigRequest): void {
  const fail = (what: string, next: string): never => {
    throw new HawserError("BAD_CONFIG", what, next);
  };
  if (!/^[0-9a-f]{64}$/.test(certificate))
    fail(
      `${JSON.stringify(certificate)} is not an agent's fingerprint`,
      "Give the 64 hexadecimal digits that hawser broker agent-init prints.",
    );
  if (!isAbsolute(directory) || /\p{Cc}/u.test(directory))
    fail(`invalid directory ${JSON.stringify(directory)} on the broker's machine`, "Give an absolute path.");
  if (user !== undefined && !/^[A-Za-z_][A-Za-z0-9_-]*$/.test(user))
    fail(`invalid user name ${JSON.stringify(user)}`, "Name a user of the broker's machine.");
  if (reach === undefined) fail("a broker on another machine needs an address", "Give --reach, by which this machine ends sessions there.");
}

function withoutAgent(before: Output | undefined): Partial<Output> {
  const { agent: _agent, ...rest } = before ?? {};
  return rest;
}

function restartsOf(before: Output | undefined): Pick<MosquittoSettings, "restarts"> {
  return before?.settings.restarts === undefined ? {} : { restarts: before.settings.restarts };
}

function settingsOf({
  mtlsPort,
  pskPort,
  backendPort,
  bind,
  reach,
  plugin = findControlPlugin(),
  retain,
  logPublishes,
}: BrokerConfigRequest): Omit<MosquittoSettings, "user"> {
  return {
    mtlsPort,
    pskPort,
    ...(backendPort === undefined ? {} : { backendPort }),
    ...(bind === undefined ? {} : { bind }),
    ...(reach === undefined ? {} : { reach }),
    ...(plugin === undefined || plugin === false ? {} : { plugin }),
    ...(retain === true ? { retain } : {}),
    ...(logPublishes === true ? { logPublishes } : {}),
  };
}
