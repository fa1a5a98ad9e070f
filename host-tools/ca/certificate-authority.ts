/** An opened CA: every operation there is on it. Each change is whole, audited, and carried to the broker configurations before the call resolves. */
import { HawserError } from "../../sdk/errors.js";
import { disconnectEverywhere } from "./disconnect.js";
import type { Disconnection } from "./disconnect.js";
import { syncOutputs, writeBrokerConfig } from "./broker-configs.js";
import type { BrokerConfigRequest, OutputResult, WrittenBrokerConfig } from "./broker-configs.js";
import { readOutputs } from "../ca-directory/outputs-file.js";
import { readBrokerMaterial, renewBrokerCertificate } from "./broker-identity.js";
import type { BrokerMaterial } from "./broker-identity.js";
import { issueClient } from "./clients.js";
import type { ClientCredentials, ClientRequest } from "./clients.js";
import { readCertificates, readKeys } from "./context.js";
import type { CaContext } from "./context.js";
import { issueFromCsr, retireOlder } from "./enrolment.js";
import type { EnrolledCertificate } from "./enrolment.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { Provisioning } from "./provisioning.js";
import type { DeviceIdentity, Reservation, ReserveRequest } from "./provisioning.js";
import { readRecord, unlock } from "../ca-directory/ca-record.js";
import { addCrlWhenDue, readNextUpdate, renewCrl, revoke } from "./revocation.js";
import type { Revoked, RevokeRequest } from "./revocation.js";
import { listed } from "../ca-directory/registry.js";
import type { ListedName } from "../ca-directory/registry.js";
import { CaStore } from "../ca-directory/ca-store.js";

export interface OpenOptions {
  /** Told what became of each broker configuration that changed or has a problem. */
  readonly onOutput?: (result: OutputResult) => void;
  /** Wall time, milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * Opens a CA with its keys. Everything in it is read and proved; a change that a crash cut short is finished.
 *
 * @throws HawserError `NOT_A_CA`, `WRONG_PASSPHRASE`, `CA_CORRUPT` naming the file, `CA_VERSION`, `CA_BUSY`, `STORAGE_FAILED`
 */
export async function openCa(directory: string, passphrase: string, { onOutput, now = Date.now }: OpenOptions = {}): Promise<CertificateAuthority> {
  const record = readRecord(directory);
  const keys = await readKeys(directory, unlock(directory, record, passphrase));
  const results = new OutputResults(onOutput);
  const store = await CaStore.open(directory, now, {
    beforeCommit: (draft) => addCrlWhenDue(directory, record, keys, draft),
    afterApply: async (entries) => results.set(await syncOutputs(directory, keys, entries, false)),
  });
  const ca = { directory, record, keys, store };
  // Proves what the keys and the registry did not.
  readBrokerMaterial(directory, record, keys, new Map(), readNextUpdate(directory));
  readCertificates(directory, FILES.brokerChain);
  readOutputs(directory);
  return new CertificateAuthority(ca, results);
}

/** What the last change did to the broker configurations. */
class OutputResults {
  last: readonly OutputResult[] = [];

  constructor(private readonly onOutput: ((result: OutputResult) => void) | undefined) {}

  set(results: readonly OutputResult[]): void {
    this.last = results;
    for (const result of results) if (result.changed.length > 0 || result.problem !== undefined) this.onOutput?.(result);
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
    const { directory, record, keys, store } = this.#ca;
    return store.change((draft) => readBrokerMaterial(directory, record, keys, draft.entries, readNextUpdate(directory)));
  }

  /** Writes a broker's configuration, which every change keeps up to date from now on: see {@link writeBrokerConfig}. */
  writeBrokerConfig(request: BrokerConfigRequest): Promise<WrittenBrokerConfig> {
    return writeBrokerConfig(this.#ca, request);
  }

  /** Brings every broker configuration, and every broker that runs with one, up to date now; for when one was damaged or could not be written or reloaded before. */
  async syncOutputs(): Promise<readonly OutputResult[]> {
    const { directory, keys, store } = this.#ca;
    const results = await store.change((draft) => syncOutputs(directory, keys, draft.entries, true));
    this.#results.set(results);
    return results;
  }

  /** Every name there is, sorted. */
  list(): Promise<ListedName[]> {
    return this.#ca.store.change((draft) => [...draft.entries.values()].map(listed).sort((a, b) => (a.name < b.name ? -1 : 1)));
  }
}
