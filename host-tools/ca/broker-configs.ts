/** Writes the configuration of a broker and remembers it. */
import { join } from "node:path";
import { chooseUser } from "../brokers/mosquitto/broker-user.js";
import { checkMosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import type { MosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import { prepareDirectory, removeConfiguration, writeConfiguration } from "../brokers/mosquitto/mosquitto-output.js";
import { findControlPlugin } from "../brokers/mosquitto/mosquitto-process.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output } from "../ca-directory/outputs-file.js";
import { brokerFacts, withHeld } from "./broker-facts.js";
import type { CaContext } from "./context.js";

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
  /** The user mosquitto becomes when started as root; chosen by hawser when left out. */
  readonly user?: string;
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
 * @throws HawserError `BAD_PORT`, `BAD_HOST`, `OUT_EXISTS`, `UNKNOWN_USER`, `OUTPUT_REFUSED`, and those of every change
 */
export async function writeBrokerConfig(ca: CaContext, request: BrokerConfigRequest): Promise<WrittenBrokerConfig> {
  const { plugin, ...rest } = request;
  checkMosquittoSettings({ ...rest, ...(plugin === undefined || plugin === false ? {} : { plugin }) });
  return ca.store.change(async (draft) => {
    const { directory, made } = prepareDirectory(request.out);
    try {
      const { mtlsPort, pskPort, backendPort } = request;
      const { name: user, note } = chooseUser(directory, request.user);
      const known = readOutputs(draft);
      const before = known.find((output) => output.directory === directory);
      const output: Output = {
        owed: [],
        sweptAtMs: draft.nowMs,
        ...before,
        engine: "mosquitto",
        directory,
        settings: { ...settingsOf(request), ...restartsOf(before), user },
      };
      const files = await writeConfiguration(
        output,
        withHeld(brokerFacts(draft, ca.keys, draft), output.owed),
        join(ca.directory, DIRECTORIES.trial),
      );
      draft.write(FILES.outputs, outputsText([...known.filter((other) => other !== before), output]));
      draft.record({ event: "broker-configured", directory, mtlsPort, pskPort, ...(backendPort === undefined ? {} : { backendPort }) });
      return { directory, configFile: join(directory, "mosquitto.conf"), files, user, ...(note === undefined ? {} : { note }) };
    } catch (error) {
      if (made) removeConfiguration(directory);
      throw error;
    }
  });
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
}: BrokerConfigRequest): Omit<MosquittoSettings, "user"> {
  return {
    mtlsPort,
    pskPort,
    ...(backendPort === undefined ? {} : { backendPort }),
    ...(bind === undefined ? {} : { bind }),
    ...(reach === undefined ? {} : { reach }),
    ...(plugin === undefined || plugin === false ? {} : { plugin }),
    ...(retain === true ? { retain } : {}),
  };
}
