/**
 * An opened CA: every operation there is on it. Each change is whole, audited, and carried to the broker configurations before the call
 * resolves.
 */
import { resolve } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import type { OcspIssuer } from "../authority/ocsp-responder.js";
import type { AgentBroker, HubIdentity } from "../broker-agent/agent-hub.js";
import { agentBrokers, hubIdentity } from "./agent-brokers.js";
import { writeBrokerConfig } from "./broker-configs.js";
import type { BrokerConfigRequest, WrittenBrokerConfig } from "./broker-configs.js";
import { forgetGone, oweSessions, syncOutputs } from "./broker-sync.js";
import type { OutputResult } from "./broker-sync.js";
import { makeOcspSigners } from "./ocsp-signers.js";
import { OutputResults, warnOfOutput } from "./broker-sync-results.js";
import { brokerFacts } from "./broker-facts.js";
import { brokerFiles } from "./broker-files.js";
import type { CaFacts } from "./broker-facts.js";
import { applyPolicy, policyOf, policyTextOf, renewPassword, setName, topicsOf } from "./ca-policy.js";
import { identityTopicsOf } from "./identity-move.js";
import { principalOf } from "./policy-names.js";
import { identityBasesFor } from "../policy/identity-topics.js";
import type { IdentityTopics } from "./identity-move.js";
import type { AppliedPolicy, NameSettings } from "./ca-policy.js";
import { quarantine, type Quarantine, type QuarantineOutcome } from "./quarantine.js";
import { endRemoteSessions } from "./remote-session-ending.js";
import type { RemoteSessions } from "./remote-session-ending.js";
import { readOutputs } from "../ca-directory/outputs-file.js";
import { readBrokerMaterial, renewBrokerCertificate, renewBrokerWhenDue } from "./broker-identity.js";
import type { BrokerCertificateRequest, BrokerMaterial, RenewedBrokerCertificate } from "./broker-identity.js";
import { issueClient } from "./clients.js";
import type { ClientCredentials, ClientRequest } from "./clients.js";
import { certificatePolicyOf } from "../ca-directory/ca-record.js";
import type { CertificatePolicy } from "../ca-directory/ca-record.js";
import { anchorsOf } from "./context.js";
import { issueFromCsr, recordObjection, retireOlder } from "./certificate-renewal.js";
import type { DeviceReport, EnrolledCertificate, EnrolOptions } from "./certificate-renewal.js";
import { readForExport } from "./exporting.js";
import type { ExportMaterial, ExportRequest } from "./exporting.js";
import { changePassphrase, passphraseProblem } from "./passphrase-change.js";
import type { ScryptCost } from "../../sim/node/vault/sealed.js";
import { retirePrevious, rollOver, type Retirement, type Rollover, type RolloverOptions } from "./rollover.js";
import { rollOverRoot, type RootRollover, type RootRolloverOptions } from "./root-rollover.js";
import { pinSource } from "../pkcs11/pin.js";
import { tokenSigners } from "../pkcs11/token-signer.js";
import type { SignerFor } from "../pki/signer.js";
import { importAnswer, makeRootRequest } from "./root-errand.js";
import type { ErrandOptions, ImportedAnswer } from "./root-errand.js";
import type { Errand } from "./root-errand-names.js";
import { Provisioning, pskForAgain } from "./provisioning.js";
import type { DeviceIdentity, Reservation, ReserveRequest, ResumeRequest } from "./provisioning.js";
import { provisionBatch, type BatchRequest } from "./provisioning-batch.js";
import { unlockAndReadAhead } from "../ca-directory/proved-reading.js";
import type { Unlocked } from "../ca-directory/proved-reading.js";
import type { RevokedSerial } from "../pki/signed-crl.js";
import { makeCheckpoint } from "./checkpoint.js";
import { moveRegistry, type MovedRegistry, type MoveOptions } from "./registry-move.js";
import { OpenedCa, OpenedKeys } from "./opened-keys.js";
import { addSnapshot } from "./shared-registry.js";
import { sharedNames, type SharedNames } from "./shared-authorities.js";
import type { AddedSnapshot } from "./shared-registry.js";
import type { RegistryPlace } from "../ca-directory/registry-kinds.js";
import { backUp, type Backup } from "./backup.js";
import { setCrlBase } from "./crl-addresses.js";
import { isUnproved, RevocationUnproved } from "./revocation-outcome.js";
import type { RevokeOutcome } from "./revocation-outcome.js";
import { addCrlWhenDue, readNextUpdate, renewCrl, repeatRevocations, revoke } from "./revocation.js";
import type { RepeatedRevocations, RestoredFrom, RevokeRequest } from "./revocation.js";
import { changeBlocks } from "./network-blocking.js";
import { listed } from "../ca-directory/registry.js";
import type { ListedName } from "../ca-directory/registry.js";
import { select } from "../ca-directory/registry-query.js";
import type { AuditEvent } from "../ca-directory/audit-trail.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { CaStore } from "../ca-directory/ca-store.js";
import { machineHere } from "../ca-directory/log-replica.js";
import { logsOf, warnOfAway } from "../ca-directory/database-source.js";
import type { Draft } from "../ca-directory/change-draft.js";

export interface OpenOptions {
  /**
   * Told what became of each broker configuration that changed, or has a problem or had one; without it, Node prints a warning for each
   * problem.
   */
  readonly onOutput?: (result: OutputResult) => void;
  /** Wall time, milliseconds since the epoch. */
  readonly now?: () => number;
  /** Finds keys that are kept elsewhere; without it, those in PKCS#11 tokens are found, with the PIN as {@link pinSource} says. */
  readonly signerFor?: SignerFor;
  /** Told when the database of a shared registry is away; without it, Node prints a warning. */
  readonly onAway?: (error: HawserError) => void;
  /** Take nothing in from the database of a shared registry: to leave it as it is, with {@link CertificateAuthority.moveRegistry}. */
  readonly isAlone?: boolean;
}

/**
 * Opens a CA with its keys. Everything in it is read and proved; a change that a crash cut short is finished.
 *
 * @throws HawserError `NOT_A_CA`, `WRONG_PASSPHRASE`, `CA_CORRUPT` naming the file, `CA_VERSION`, `CA_BUSY`, `STORAGE_FAILED`
 */
export async function openCa(directory: string, passphrase: string, options: OpenOptions = {}): Promise<CertificateAuthority> {
  // Absolute: mosquitto, which tries configurations, works in another directory.
  return openUnlocked(await unlockAndReadAhead(new CaDirectory(resolve(directory)), passphrase), options);
}

/**
 * The same with the key that the passphrase opens, for who has it already.
 *
 * @throws HawserError as {@link openCa}
 */
export async function openUnlocked(unlocked: Unlocked, options: OpenOptions = {}): Promise<CertificateAuthority> {
  const { onOutput = warnOfOutput, now = Date.now, signerFor = tokenSigners(pinSource()), onAway = warnOfAway, isAlone = false } = options;
  const results = new OutputResults(onOutput);
  let opened: OpenedKeys | undefined;
  let gone: readonly OutputResult[] = [];
  const store = await CaStore.open(unlocked, { now, openLog: logsOf(unlocked.directory), onAway, isAlone }, async (proved) => {
    const ours = await OpenedKeys.read(proved, unlocked.sealing, signerFor);
    opened = ours;
    return {
      filesChanged: (files) => ours.refresh(files),
      beforeCommit: async (draft) => {
        gone = forgetGone(draft, draft.machine);
        await renewBrokerWhenDue(ours.record, ours.keys, draft);
        await addCrlWhenDue(ours.record, ours.keys, draft);
        oweSessions(draft);
      },
      afterApply: async (names, files) => {
        const synced = await syncOutputs(files, ours.keys, names, {
          committed: files,
          prove: false,
          machine: machineHere(files),
          nowMs: now(),
        });
        results.set([...gone, ...synced.results]);
        gone = [];
        return synced.followUp;
      },
    };
  });
  if (opened === undefined) throw new Error("the store was opened without its keys");
  const ca = new OpenedCa(opened, store);
  // Proves what the hashes of the files cannot: that they are what they should be.
  readBrokerMaterial(store.files, ca.record, ca.keys, [], readNextUpdate(store.files));
  readOutputs(store.files);
  return new CertificateAuthority(ca, results);
}

export class CertificateAuthority {
  readonly #ca: OpenedCa;
  readonly #provisioning: Provisioning;
  readonly #results: OutputResults;

  constructor(ca: OpenedCa, results: OutputResults) {
    this.#ca = ca;
    this.#results = results;
    this.#provisioning = new Provisioning(ca);
  }

  get directory(): string {
    return this.#ca.directory.path;
  }

  get name(): string {
    return this.#ca.record.name;
  }

  get brokerHosts(): readonly string[] {
    return this.#ca.record.brokerHosts;
  }

  /** What the CA's own certificates are like. */
  get certificatePolicy(): CertificatePolicy {
    return certificatePolicyOf(this.#ca.record);
  }

  /** The root, DER; during a rollover of the root, the one before it comes second. */
  get trustAnchors(): readonly Uint8Array[] {
    return anchorsOf(this.#ca.keys);
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

  /** Takes up what was cut off before the last step: see {@link Provisioning.resume}. */
  resume(request: ResumeRequest): Promise<{ readonly notAfterMs: number } | undefined> {
    return this.#provisioning.resume(request);
  }

  /** Many devices as one change: see {@link provisionBatch}. */
  provisionBatch(request: BatchRequest): Promise<DeviceIdentity[]> {
    return provisionBatch(this.#ca, request);
  }

  /** Credentials for a client that is no device: see {@link issueClient}. */
  issueClient(request: ClientRequest): Promise<ClientCredentials> {
    return issueClient(this.#ca, request);
  }

  /** A certificate for a device that asks: see {@link issueFromCsr}. */
  issueFromCsr(id: string, csr: Uint8Array, options?: EnrolOptions): Promise<EnrolledCertificate> {
    return issueFromCsr(this.#ca, id, csr, options);
  }

  /** A device committed its new certificate: see {@link retireOlder}. */
  retireOlder(id: string, activeSerial: string, report?: DeviceReport): Promise<readonly string[]> {
    return retireOlder(this.#ca, id, activeSerial, report);
  }

  /** The pre-shared key for a device that is given its identity once more: see {@link pskForAgain}. */
  pskForAgain(id: string): Promise<Buffer | undefined> {
    return pskForAgain(this.#ca, id);
  }

  /** Where the policy lets a device ask for certificates. */
  identityBasesOf(id: string): Promise<readonly string[]> {
    return this.#ca.store.read((draft) => {
      const entry = draft.entries.get(id);
      return entry === undefined ? [] : identityBasesFor(policyOf(draft), principalOf(entry));
    });
  }

  /** Where the policy has the topics of a device; undefined where it has none that the device could be told. */
  topicsOf(id: string): Promise<DeviceTopics | undefined> {
    return this.#ca.store.read((draft) => {
      const entry = draft.entries.get(id);
      return entry && topicsOf(draft, entry);
    });
  }

  /** The holder of a certificate objects to another's request: see {@link recordObjection}. */
  recordObjection(id: string, signedBy: string): Promise<string> {
    return recordObjection(this.#ca, id, signedBy);
  }

  /**
   * Shuts a name out, everywhere: registry, revocation list, broker configurations, and its live sessions at every configured broker,
   * whatever their client ids.
   *
   * @throws RevocationUnproved (`OUTPUT_FAILED`) when that could not be proved at a broker; to be called again then
   * @throws HawserError `INVALID_ID`, `INVALID_REASON`, `UNKNOWN_ID`, `NOT_A_DEVICE`, `ALREADY_REVOKED` (nothing happened), and those of
   *   every change
   */
  async revoke(request: RevokeRequest): Promise<RevokeOutcome> {
    const before = this.#results.last;
    const revoked = await revoke(this.#ca, request);
    // Nothing was left to revoke: the caller may have come back because a broker had a problem.
    const end = revoked.state === "revoked" ? [request.id, recoveryIdentity(request.id)] : [request.id];
    const outcome = { ...revoked, brokers: this.#results.last === before ? await this.syncOutputs(end) : this.#results.last };
    if (outcome.brokers.some(isUnproved)) throw new RevocationUnproved(outcome);
    return outcome;
  }

  /** Signs new revocation lists; to be done well before they expire, or brokers refuse everybody. */
  renewCrl(options: { readonly root?: boolean } = {}): Promise<{ nextUpdateMs: number }> {
    return renewCrl(this.#ca, options.root);
  }

  /** Has certificates say where revocation lists are found: see {@link setCrlBase}. */
  setCrlBase(url: string): Promise<void> {
    return setCrlBase(this.#ca, url);
  }

  /** The first change of a restored CA: see {@link repeatRevocations}. */
  repeatRevocations(revoked: ReadonlyMap<string, RevokedSerial>, backup: RestoredFrom): Promise<RepeatedRevocations> {
    return repeatRevocations(this.#ca, revoked, backup);
  }

  /** What the audit trail is now, signed, to be kept elsewhere: see {@link makeCheckpoint}. */
  makeCheckpoint(): ReturnType<typeof makeCheckpoint> {
    return makeCheckpoint(this.#ca);
  }

  /** One encrypted file with all of it: see {@link backUp}. */
  backUp(file: string): Promise<Backup> {
    return backUp(this.#ca, file);
  }

  /** Another kind of home for the registry: see {@link moveRegistry}. */
  moveRegistry(to: RegistryPlace, options?: MoveOptions): Promise<MovedRegistry> {
    return moveRegistry(this.#ca, to, options);
  }

  /** A snapshot in the database of a shared registry: see {@link addSnapshot}. */
  addSnapshot(): Promise<AddedSnapshot> {
    return addSnapshot(this.#ca);
  }

  /** Takes in what other machines changed, and brings this machine's brokers up to date with it. Throws as every change. */
  async takeIn(): Promise<void> {
    await this.#ca.store.read(() => undefined);
  }

  /** Where machines share the registry: calls `onNews` when another may have changed it, until the returned function is called. */
  watchRegistry(onNews: () => void): (() => void) | undefined {
    return this.#ca.store.log?.watch(onNews);
  }

  /** What keeps this machine from the shared registry; undefined without such trouble, and where the registry is not shared. */
  logProblem(): Promise<HawserError | undefined> {
    return this.#ca.store.logProblem();
  }

  /** What this machine's authority is called at a broker that others serve too: see {@link sharedNames}. */
  sharedNames(): SharedNames {
    return sharedNames(this.#ca);
  }

  /** Has another passphrase open the CA from now on: see {@link changePassphrase}. */
  async changePassphrase(passphrase: string, scryptCost?: Readonly<ScryptCost>): Promise<void> {
    await changePassphrase(this.#ca, passphrase, (sealing) => this.#ca.willUse(sealing), scryptCost);
    // Snapshots from before are opened by the passphrase before.
    if (this.#ca.store.log !== undefined) await addSnapshot(this.#ca);
  }

  /** That another process changed the passphrase; undefined as long as nobody did. Throws as {@link passphraseProblem}. */
  passphraseProblem(): HawserError | undefined {
    return passphraseProblem(this.#ca);
  }

  /** Makes another issuing CA under the same root: see {@link rollOver}. */
  rollOver(options?: RolloverOptions): Promise<Rollover> {
    return rollOver(this.#ca, options);
  }

  /** Makes another root, and an issuing CA under it: see {@link rollOverRoot}. */
  rollOverRoot(options?: RootRolloverOptions): Promise<RootRollover> {
    return rollOverRoot(this.#ca, options);
  }

  /** Ends the issuing CA before: see {@link retirePrevious}. */
  retirePrevious(force = false): Promise<Retirement> {
    return retirePrevious(this.#ca, force);
  }

  /** A request to an offline root: see {@link makeRootRequest}. */
  makeRootRequest(errand: Errand, options?: ErrandOptions): Promise<string> {
    return makeRootRequest(this.#ca, errand, options);
  }

  /** Takes the answer of an offline root in: see {@link importAnswer}. */
  importAnswer(text: string): Promise<ImportedAnswer> {
    return importAnswer(this.#ca, text);
  }

  /**
   * A new key and certificate for the broker, for other hosts if asked: see {@link renewBrokerCertificate}. Any change of the CA renews it
   * after two thirds of its life.
   */
  renewBrokerCertificate(request?: BrokerCertificateRequest): Promise<RenewedBrokerCertificate> {
    return renewBrokerCertificate(this.#ca, request);
  }

  /** Everything a broker must know, as the directory is now; ask again when {@link watchCa} tells. Throws as every change. */
  brokerMaterial(): Promise<BrokerMaterial> {
    const { record, keys, store } = this.#ca;
    return store.read((draft) => readBrokerMaterial(draft, record, keys, [...draft.entries.values()], readNextUpdate(draft)));
  }

  /** Writes a broker's configuration, which every change keeps up to date from now on: see {@link writeBrokerConfig}. */
  writeBrokerConfig(request: BrokerConfigRequest): Promise<WrittenBrokerConfig> {
    return writeBrokerConfig(this.#ca, request);
  }

  /**
   * Brings every broker configuration, and every broker that runs with one, up to date now, and ends the sessions that should have ended:
   * those of expired certificates, and what could not be done before.
   *
   * @param end user names whose sessions to end as well
   * @param takeOver also where a configuration is another CA's, or of the CA that this is a copy of
   */
  async syncOutputs(end: readonly string[] = [], takeOver = false): Promise<readonly OutputResult[]> {
    const { keys, store } = this.#ca;
    const results = await store.change(async (draft) => {
      const { machine } = draft;
      const gone = forgetGone(draft, machine);
      if (gone.length > 0) draft.record({ event: "broker-forgotten", directories: gone.map(({ directory }) => directory) });
      const synced = await syncOutputs(draft, keys, draft, {
        committed: store.files,
        prove: true,
        end,
        takeOver,
        machine,
        nowMs: draft.nowMs,
      });
      synced.followUp?.(draft);
      return [...gone, ...synced.results];
    });
    this.#results.set(results);
    return results;
  }

  /** The brokers whose agents may ask this CA. */
  agentBrokers(): Promise<AgentBroker[]> {
    return this.#ca.store.read((draft) => agentBrokers(draft, draft.machine));
  }

  /** For the port at which agents ask: a certificate that lives for `lifetimeMs`, its key in memory alone. */
  agentHubIdentity(lifetimeMs: number): Promise<HubIdentity> {
    return this.#ca.store.read((draft) => hubIdentity(this.#ca.keys, draft.nowMs, lifetimeMs));
  }

  /** Who signs OCSP answers for `lifetimeMs`: certificates for that alone, their keys in memory. */
  ocspSigners(lifetimeMs: number): Promise<OcspIssuer[]> {
    return this.#ca.store.read((draft) => makeOcspSigners(this.#ca.keys, draft.nowMs, lifetimeMs));
  }

  /** What a broker needs beside a compiled configuration: see {@link brokerFiles}. */
  brokerFiles(): Promise<ReadonlyMap<string, string>> {
    return brokerFiles(this.#ca);
  }

  /** Ends the sessions of names at a mosquitto that this directory does not configure: see {@link endRemoteSessions}. */
  endRemoteSessions(request: RemoteSessions): Promise<void> {
    return endRemoteSessions(this.#ca, request);
  }

  /**
   * Gives the CA another policy, which counts on every broker at once: see {@link applyPolicy}. When a broker's configuration cannot be
   * brought up to date, the CA goes back to the policy it had.
   *
   * @throws HawserError as {@link applyPolicy}; `OUTPUT_FAILED` (nothing has changed in the end)
   */
  async applyPolicy(text: string, { force = false }: { force?: boolean } = {}): Promise<AppliedPolicy> {
    const { keys, store } = this.#ca;
    const before = policyTextOf(store.files);
    const factsOf = (draft: Draft): CaFacts => brokerFacts(draft, keys, draft);
    const applied = await applyPolicy(this.#ca, text, force, factsOf);
    const failed = applied.changed
      ? this.#results.last.find((result) => result.problem !== undefined && result.problem.code !== "OUTPUT_GONE")
      : undefined;
    if (failed === undefined) return applied;
    await applyPolicy(this.#ca, before, "back", factsOf);
    throw new HawserError(
      "OUTPUT_FAILED",
      `the policy was rolled back: the broker configuration in ${failed.directory} could not be brought up to date: ${failed.problem?.message ?? ""}`,
      "Fix that, then apply the policy again.",
    );
  }

  /** Where devices ask for certificates, and where the authority of this name may speak to itself. */
  async identityTopics(authority: string): Promise<IdentityTopics> {
    return this.#ca.store.read((draft) => identityTopicsOf(policyOf(draft), authority));
  }

  /** The text of the policy the CA has now. */
  async policyText(): Promise<string> {
    return this.#ca.store.read((draft) => policyTextOf(draft));
  }

  /** Changes role and attributes of a name: see {@link setName}. */
  async setName(settings: NameSettings): Promise<ListedName> {
    return listed(await setName(this.#ca, settings));
  }

  /** Puts a device that an alert names into quarantine: see {@link quarantine}. */
  quarantine(wanted: Quarantine): Promise<QuarantineOutcome> {
    return quarantine(this.#ca, wanted);
  }

  /** Blocks a source network, or lets it in again: see {@link changeBlocks}. */
  changeBlocks(change: Parameters<typeof changeBlocks>[1]): ReturnType<typeof changeBlocks> {
    return changeBlocks(this.#ca, change);
  }

  /** Gives a name a new password: see {@link renewPassword}. */
  renewPassword(id: string, keep: (password: string) => void): Promise<void> {
    return renewPassword(this.#ca, id, keep);
  }

  /** Puts something that left this CA (an image, an export) on the audit trail. The event must hold no secret. Throws as every change. */
  audit(event: AuditEvent): Promise<void> {
    return this.#ca.store.change((draft) => draft.record(event));
  }

  /** Devices and certificates for another system; on the audit trail: see {@link readForExport}. */
  readForExport(request: ExportRequest): Promise<ExportMaterial> {
    return readForExport(this.#ca, request);
  }

  /** Every name there is, sorted. */
  list(): Promise<ListedName[]> {
    return this.#ca.store.read((draft) => select(draft.summaries(), {}).map(listed));
  }
}
