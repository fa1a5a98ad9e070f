/** Carries the state of a CA to every broker configuration that was written from it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { unsealPsk } from "./broker-identity.js";
import { pemChain, readCertificates, readSealedKey } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import type { CaFiles } from "../ca-directory/ca-files.js";
import type { Draft } from "../ca-directory/ca-store.js";
import { DIRECTORIES, FILES } from "../ca-directory/directory-layout.js";
import { toPem } from "../pki/pem.js";
import { checkMosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import type { BrokerFacts } from "../brokers/mosquitto/mosquitto-config.js";
import type { RegistryEntry } from "../ca-directory/registry-entry.js";
import { chooseUser } from "../brokers/mosquitto/broker-user.js";
import { prepareDirectory, removeConfiguration, writeConfiguration } from "../brokers/mosquitto/mosquitto-output.js";
import { bringUpToDate } from "../brokers/mosquitto/mosquitto-reload.js";
import { outputsText, readOutputs } from "../ca-directory/outputs-file.js";
import type { Output } from "../ca-directory/outputs-file.js";

/** What became of one broker configuration. */
export interface OutputResult {
  readonly directory: string;
  /** Names of the files that changed. */
  readonly changed: readonly string[];
  /** True when a running broker was told to read them, and has. */
  readonly reloaded: boolean;
  /** `OUTPUT_GONE` (forgotten from now on), `OUTPUT_REFUSED`, `OUTPUT_NOT_RELOADED`, `STORAGE_FAILED`, `STORAGE_FULL` */
  readonly problem?: HawserError;
}

export interface BrokerConfigRequest {
  readonly engine: "mosquitto";
  /** The directory to write: new, empty, or written by hawser before. */
  readonly out: string;
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** Address to listen on; all interfaces when left out. */
  readonly bind?: string;
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
  checkMosquittoSettings(request);
  return ca.store.change(async (draft) => {
    const { directory, made } = prepareDirectory(request.out);
    try {
      const { mtlsPort, pskPort, bind } = request;
      const { name: user, note } = chooseUser(directory, request.user);
      const output: Output = { engine: "mosquitto", directory, settings: { mtlsPort, pskPort, user, ...(bind === undefined ? {} : { bind }) } };
      const files = await writeConfiguration(output, brokerFacts(draft, ca.keys, draft.entries), join(ca.directory, DIRECTORIES.trial));
      const others = readOutputs(draft).filter((known) => known.directory !== directory);
      draft.write(FILES.outputs, outputsText([...others, output]));
      draft.record({ event: "broker-configured", directory, mtlsPort, pskPort });
      return { directory, configFile: join(directory, "mosquitto.conf"), files, user, ...(note === undefined ? {} : { note }) };
    } catch (error) {
      if (made) removeConfiguration(directory);
      throw error;
    }
  });
}

/**
 * Rewrites every configuration that is not up to date and has its broker reload. The caller holds the CA's lock.
 *
 * @param prove ask running brokers for their state even where no file changed: an earlier reload may have failed
 */
export async function syncOutputs(files: CaFiles, keys: CaKeys, entries: ReadonlyMap<string, RegistryEntry>, prove: boolean): Promise<OutputResult[]> {
  const outputs = readOutputs(files);
  if (outputs.length === 0) return [];
  const facts = brokerFacts(files, keys, entries);
  const results: OutputResult[] = [];
  for (const output of outputs) results.push(await syncOutput(output, facts, join(files.directory, DIRECTORIES.trial), prove));
  return results;
}

/** Has a change leave out the configurations whose directory is gone, and says which. */
export function forgetGone(draft: Draft): OutputResult[] {
  const outputs = readOutputs(draft);
  const gone = outputs.filter(({ directory }) => !existsSync(directory));
  if (gone.length > 0) draft.write(FILES.outputs, outputsText(outputs.filter((output) => !gone.includes(output))));
  return gone.map(({ directory }) => ({ directory, changed: [], reloaded: false, problem: outputGone(directory) }));
}

function outputGone(directory: string): HawserError {
  return new HawserError("OUTPUT_GONE", `the broker configuration in ${directory} is gone and will not be kept up to date any more`, "Write it again with `hawser broker config` if it is still needed.");
}

async function syncOutput(output: Output, facts: BrokerFacts, trialPlace: string, prove: boolean): Promise<OutputResult> {
  const { directory } = output;
  let changed: string[] = [];
  try {
    if (!existsSync(directory)) throw outputGone(directory);
    changed = await writeConfiguration(output, facts, trialPlace);
    const reloaded = (prove || changed.length > 0) && (await bringUpToDate(output, facts, changed.length > 0));
    return { directory, changed, reloaded };
  } catch (error) {
    if (error instanceof HawserError) return { directory, changed, reloaded: false, problem: error };
    throw error;
  }
}

/** Revoked, or to be replaced after a revocation. A name that is reserved for the first time has nothing that could be shut out. */
function isShutOut({ state, certificates }: RegistryEntry): boolean {
  return state === "revoked" || (state === "reserved" && certificates.some(({ status }) => status !== "active"));
}

function brokerFacts(files: CaFiles, keys: CaKeys, entries: ReadonlyMap<string, RegistryEntry>): BrokerFacts {
  const names = [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const recoverable = names.flatMap((entry) => {
    const key = unsealPsk(keys, entry);
    return key === undefined ? [] : [{ name: entry.name, role: entry.role, identity: entry.name, key }];
  });
  const brokerKey = readSealedKey(files, FILES.brokerKey, keys.sealing);
  const brokerKeyPem = toPem("PRIVATE KEY", brokerKey);
  brokerKey.fill(0);
  return {
    full: names.filter((entry) => entry.state === "active"),
    shutOut: names.filter(isShutOut).map((entry) => entry.name),
    recovery: recoverable,
    keys: recoverable,
    brokerChainPem: pemChain(readCertificates(files, FILES.brokerChain)),
    brokerKeyPem,
    anchorsPem: pemChain([keys.root.certificate, keys.issuing.certificate]),
    crlPem: files.read(FILES.crl).toString("utf8"),
  };
}
