/** Gives a device its identity. */
import { accessSync, constants, existsSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { installIdentity, keySlot, PSK_SLOT } from "../../../sdk/identity/store.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import type { StagedVault } from "../../../sim/node/vault/vault.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { DeviceIdentity, Reservation } from "../../ca/provisioning.js";
import { checkDeviceRole, policyOf } from "../../ca/ca-policy.js";
import { unprovedFiles } from "../../ca-directory/ca-files.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import { vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { StopSignal } from "../stop-signal.js";

export interface ProvisionOptions extends PassphraseOptions {
  dir: string;
  id: string;
  role: string;
  vault: string;
  replace?: boolean;
  json?: boolean;
}

export async function provision(options: ProvisionOptions, context: Context): Promise<void> {
  checkId(options.id);
  checkDeviceRole(policyOf(unprovedFiles(options.dir)), options.role);
  const replace = options.replace === true;
  checkPlace(options.vault, replace);
  const ca = await openCaOf(options, context);
  context.terminal.stopProgress();
  const passphrase = await vaultPassphrase(options, context.env, true);
  context.terminal.startProgress("making the device's identity");
  context.stop.check();
  const staged = Vault.createStaged(options.vault, passphrase, { replace });
  let identity: DeviceIdentity;
  try {
    identity = await fill(staged, ca, options, context.stop);
  } finally {
    // Nothing happens here when it was committed.
    staged.discard();
    staged.vault.close();
  }
  const { id, role, serial, notAfterMs, replaced } = identity;
  context.terminal.result({ id, role, serial, notAfter: isoTime(notAfterMs), vault: options.vault, replaced }, [
    `${id} is provisioned: certificate ${serial}, valid until ${day(notAfterMs)}, in ${options.vault}.`,
    ...replaced.map((old) => `  revoked ${old}`),
  ]);
}

/** Found out before anything is made: a later failure would have to be undone. */
function checkPlace(vault: string, replace: boolean): void {
  const path = resolve(vault);
  if (existsSync(path) && !replace) throw new HawserError("VAULT_EXISTS", `there is something at ${vault} already`, "Choose another path, or say --replace to put a new vault there.");
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch {
    throw new HawserError("STORAGE_FAILED", `no vault can be made in ${dirname(path)}`, "Check that the directory exists and that this user may write there.");
  }
}

/** The registry first knows the name, then the certificate, then that the vault is in place; a failure takes all of it back. */
async function fill(staged: StagedVault, ca: CertificateAuthority, options: ProvisionOptions, stop: StopSignal): Promise<DeviceIdentity> {
  const { id, role } = options;
  const reservation = await ca.reserve({ id, role, replace: options.replace === true });
  try {
    const identity = await install(staged.vault, ca, reservation, stop);
    staged.commit();
    await activate(ca, reservation, staged.vault);
    return identity;
  } catch (error) {
    // Should this fail as well, the name stays reserved, and the next attempt takes it over.
    await ca.abandon(reservation).catch(() => undefined);
    throw error;
  }
}

async function install({ keyStore, storage }: Vault, ca: CertificateAuthority, reservation: Reservation, stop: StopSignal): Promise<DeviceIdentity> {
  keyStore.generate(keySlot("a"));
  const request = keyStore.csr(keySlot("a"), reservation.id);
  // From here on it goes through to the end: with --replace the old identity is revoked by the next step.
  stop.check();
  const identity = await ca.complete(reservation, request);
  const { id, role, chain, trustAnchors, psk, pskIdentity } = identity;
  keyStore.importPsk(PSK_SLOT, psk);
  psk.fill(0);
  installIdentity(storage, keyStore, { id, role, chain, trustAnchors, pskIdentity });
  return identity;
}

async function activate(ca: CertificateAuthority, reservation: Reservation, vault: Vault): Promise<void> {
  try {
    await ca.activate(reservation);
  } catch (error) {
    vault.close();
    rmSync(vault.path, { recursive: true, force: true });
    throw error;
  }
}
