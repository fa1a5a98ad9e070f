/** An opened CA: every operation there is on it. Each change is whole, audited, and carried to the broker configurations before the call resolves. */
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { disconnectEverywhere } from "./disconnect.js";
import type { Disconnection } from "./disconnect.js";
import { forgetGone, syncOutputs, writeBrokerConfig } from "./broker-configs.js";
import type { BrokerConfigRequest, OutputResult, WrittenBrokerConfig } from "./broker-configs.js";
import { readOutputs } from "../ca-directory/outputs-file.js";
import { readBrokerMaterial, renewBrokerCertificate } from "./broker-identity.js";
import type { BrokerMaterial } from "./broker-identity.js";
import { issueClient } from "./clients.js";
import type { ClientCredentials, ClientRequest } from "./clients.js";
import type { ProvedFiles } from "../ca-directory/ca-files.js";
import { FILES } from "../ca-directory/directory-layout.js";
import type { CaRecord } from "../ca-directory/ca-record.js";
import { readKeys } from "./context.js";
import type { CaContext, CaKeys } from "./context.js";
import { issueFromCsr, retireOlder } from "./enrolment.js";
import type { EnrolledCertificate } from "./enrolment.js";
import { Provisioning } from "./provisioning.js";
import type { DeviceIdentity, Reservation, ReserveRequest } from "./provisioning.js";
import { parseRecord, readRecord, unlock } from "../ca-directory/ca-record.js";
import { addCrlWhenDue, readNextUpdate, renewCrl, revoke } from "./revocation.js";
import type { Revoked, RevokeRequest } from "./revocation.js";
import { listed } from "../ca-directory/registry.js";
import type { ListedName } from "../ca-directory/registry.js";
import { CaStore } from "../ca-directory/ca-store.js";

export interface OpenOptions {
  /** Told what became of each broker configuration that changed or has a problem; without it, Node prints a warning for each problem. */
  readonly onOutput?: (result: OutputResult) => void;
  /** Wall time, milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * Opens a CA with its keys. Everything in it is read and proved; a change that a crash cut short is finished.
 *
 * @throws HawserError `NOT_A_CA`, `WRONG_PASSPHRASE`, `CA_CORRUPT` naming the file, `CA_VERSION`, `CA_BUSY`, `STORAGE_FAILED`
 */
export async function openCa(directory: string, passphrase: string, { onOutput = warnOfOutput, now = Date.now }: OpenOptions = {}): Promise<CertificateAuthority> {
  // Absolute: mosquitto, which tries configurations, works in another directory.
  const path = resolve(directory);
  const sealing = unlock(path, readRecord(path), passphrase);
  const results = new OutputResults(onOutput);
  let opened: OpenedKeys | undefined;
  let gone: readonly OutputResult[] = [];
  const store = await CaStore.open(path, sealing, now, async (proved) => {
    const ours = await OpenedKeys.read(proved, sealing);
    opened = ours;
    return {
      filesChanged: (files) => ours.refresh(files),
      beforeCommit: async (draft) => {
        gone = forgetGone(draft);
        await addCrlWhenDue(ours.record, ours.keys, draft);
      },
      afterApply: async (entries, files) => {
        results.set([...gone, ...(await syncOutputs(files, ours.keys, entries, false))]);
        gone = [];
      },
    };
  });
  if (opened === undefined) throw new Error("the store was opened without its keys");
  const ca = new OpenedCa(path, opened, store);
  // Proves what the hashes of the files cannot: that they are what they should be.
  readBrokerMaterial(store.files, ca.record, ca.keys, new Map(), readNextUpdate(store.files));
  readOutputs(store.files);
  return new CertificateAuthority(ca, results);
}

/** Record and keys as the directory is now: another process may have changed them. */
class OpenedKeys {
  private constructor(
    public record: CaRecord,
    public keys: CaKeys,
    private hashes: string,
  ) {}

  static async read(files: ProvedFiles, sealing: Buffer): Promise<OpenedKeys> {
    return new OpenedKeys(parseRecord(files), await readKeys(files, sealing), hashesOfKeys(files));
  }

  async refresh(files: ProvedFiles): Promise<void> {
    const hashes = hashesOfKeys(files);
    if (hashes === this.hashes) return;
    this.record = parseRecord(files);
    this.keys = await readKeys(files, this.keys.sealing);
    this.hashes = hashes;
  }
}

function hashesOfKeys({ state }: ProvedFiles): string {
  return [FILES.record, FILES.root, FILES.issuing, FILES.rootKey, FILES.issuingKey].map((file) => state.files[file]).join(" ");
}

class OpenedCa implements CaContext {
  constructor(
    readonly directory: string,
    private readonly opened: OpenedKeys,
    readonly store: CaStore,
  ) {}

  get record(): CaRecord {
    return this.opened.record;
  }

  get keys(): CaKeys {
    return this.opened.keys;
  }
}

/** For programs that did not ask to be told: never silent. */
function warnOfOutput({ problem }: OutputResult): void {
  if (problem !== undefined) process.emitWarning(`${problem.message}. ${problem.nextStep}`, { type: "HawserWarning", code: problem.code });
}

/** What the last change did to the broker configurations. */
class OutputResults {
  last: readonly OutputResult[] = [];

  constructor(private readonly onOutput: (result: OutputResult) => void) {}

  set(results: readonly OutputResult[]): void {
    this.last = results;
    for (const result of results) if (result.changed.length > 0 || result.problem !== undefined) this.onOutput(result);
  }
}

export interface RevokeOutcome extends Revoked {
  /** What became of the name's live connections to brokers that run on this machine. */
  readonly disconnections: readonly Disconnection[];
}

export class CertificateAuthority {
  readonly #ca: CaContext;
  readonly #provisioning: Provisioning;
  readonly #results: OutputResults;

  constructor(ca: CaContext, results: OutputResults) {
    this.#ca = ca;
    this.#results = results;
    this.#provisioning = new Provisioning(ca);
  }

  get directory(): string {
    return this.#ca.directory;
  }

  get name(): string {
    return this.#ca.record.name;
  }

  get brokerHosts(): readonly string[] {
    return this.#ca.record.brokerHosts;
  }

  /** The root, DER. */
  get trustAnchors(): readonly Uint8Array[] {
    return [this.#ca.keys.root.certificate];
  }

  /** First step of provisioning: see {@link Provisioning.reserve}. */
  reserve(request: ReserveRequest): Promise<Reservation> {
    return this.#provisioning.reserve(request);
  }

  /** Second step: certificate and PSK for the device's key: see {@link Provisioning.complete}. */
  complete(reservation: Reservation, csr: Uint8Array, lifetimeMs?: number): Promise<DeviceIdentity> {
    return this.#provisioning.complete(reservation, csr, lifetimeMs);
  }

  /** Last step: the device is let in: see {@link Provisioning.activate}. */
  activate(reservation: Reservation): Promise<void> {
    return this.#provisioning.activate(reservation);
  }

  /** Instead of the last step: the name is given back: see {@link Provisioning.abandon}. */
  abandon(reservation: Reservation): Promise<void> {
    return this.#provisioning.abandon(reservation);
  }

  /** Credentials for a client that is no device: see {@link issueClient}. */
  issueClient(request: ClientRequest): Promise<ClientCredentials> {
    return issueClient(this.#ca, request);
  }

  /** A certificate for a device that asks: see {@link issueFromCsr}. */
  issueFromCsr(id: string, csr: Uint8Array, lifetimeMs?: number): Promise<EnrolledCertificate> {
    return issueFromCsr(this.#ca, id, csr, lifetimeMs);
  }

  /** A device committed its new certificate: see {@link retireOlder}. */
  retireOlder(id: string, activeSerial: string): Promise<readonly string[]> {
    return retireOlder(this.#ca, id, activeSerial);
  }

  /**
   * Shuts a name out, everywhere: registry, revocation list, broker configurations, and its live connections to brokers on this machine.
   *
   * @throws HawserError `INVALID_ID`, `INVALID_REASON`, `UNKNOWN_ID`, `NOT_A_DEVICE`, `ALREADY_REVOKED` (nothing happened); `OUTPUT_FAILED` (it is revoked, but a
   *   broker's configuration could not be brought up to date: the broker may still let it in); and those of every change
   */
  async revoke(request: RevokeRequest): Promise<RevokeOutcome> {
    const revoked = await revoke(this.#ca, request);
    await this.syncOutputs();
    const disconnections = await disconnectEverywhere(this.#ca, request.id, revoked.state === "certificate-revoked");
    const failed = this.#results.last.find((result) => result.problem !== undefined && result.problem.code !== "OUTPUT_GONE");
    if (failed !== undefined) {
      throw new HawserError(
        "OUTPUT_FAILED",
        `${request.id} is revoked, but the broker configuration in ${failed.directory} is not up to date: ${failed.problem?.message ?? ""}`,
        "Mend that, then revoke it again: its broker may still let it in.",
      );
    }
    return { ...revoked, disconnections };
  }

  /** Signs new revocation lists; to be done well before they expire, or brokers refuse everybody. */
  renewCrl(): Promise<{ nextUpdateMs: number }> {
    return renewCrl(this.#ca);
  }

  /** A new key and certificate for the broker. */
  renewBrokerCertificate(): Promise<{ serial: string; notAfterMs: number }> {
    return renewBrokerCertificate(this.#ca);
  }

  /** Everything a broker must know, as the directory is now; ask again when {@link watchCa} tells. Throws as every change. */
  brokerMaterial(): Promise<BrokerMaterial> {
    const { record, keys, store } = this.#ca;
    return store.change((draft) => readBrokerMaterial(draft, record, keys, draft.entries, readNextUpdate(draft)));
  }

  /** Writes a broker's configuration, which every change keeps up to date from now on: see {@link writeBrokerConfig}. */
  writeBrokerConfig(request: BrokerConfigRequest): Promise<WrittenBrokerConfig> {
    return writeBrokerConfig(this.#ca, request);
  }

  /** Brings every broker configuration, and every broker that runs with one, up to date now; for when one was damaged or could not be written or reloaded before. */
  async syncOutputs(): Promise<readonly OutputResult[]> {
    const { keys, store } = this.#ca;
    const results = await store.change(async (draft) => {
      const gone = forgetGone(draft);
      if (gone.length > 0) draft.record({ event: "broker-forgotten", directories: gone.map(({ directory }) => directory) });
      return [...gone, ...(await syncOutputs(draft, keys, draft.entries, true))];
    });
    this.#results.set(results);
    return results;
  }

  /** Every name there is, sorted. */
  list(): Promise<ListedName[]> {
    return this.#ca.store.change((draft) => [...draft.entries.values()].map(listed).sort((a, b) => (a.name < b.name ? -1 : 1)));
  }
}
