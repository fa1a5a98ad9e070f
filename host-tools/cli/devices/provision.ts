/** Gives a device its identity. */
import { accessSync, constants, existsSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { installIdentity, keySlot, PSK_SLOT } from "../../../sdk/identity/store.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import type { StagedVault } from "../../../sim/node/vault/vault.js";
import type { VaultKey } from "../../../sim/node/vault/vault-files.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { USUAL_DEVICE_ROLE } from "../../ca/provisioning.js";
import type { DeviceIdentity, Reservation } from "../../ca/provisioning.js";
import { checkDeviceRole, policyOf } from "../../ca/ca-policy.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { unprovedFiles } from "../../ca-directory/ca-files.js";
import { attributesOf } from "./attribute-flags.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import { foreseenVaultPassphrase, vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { StopSignal } from "../stop-signal.js";

export interface VaultRequest {
  id: string;
  /** Left out with `replace`: as the device had it. */
  role?: string;
  vault: string;
  replace?: boolean;
  attribute?: string[];
}

export interface ProvisionOptions extends PassphraseOptions, VaultRequest {
  dir: string;
  json?: boolean;
}

export async function provision(options: ProvisionOptions, context: Context): Promise<void> {
  checkId(options.id);
  attributesOf(options.attribute);
  const replace = options.replace === true;
  checkRoleOf(options);
  checkPlace(options.vault, replace);
  const ahead = vaultKeyAhead(options, context);
  const ca = await openCaOf(options, context);
  context.terminal.stopProgress();
  const passphrase = await vaultPassphrase(options, context.env, true);
  context.terminal.startProgress("making the device's identity");
  const key = passphrase === ahead?.passphrase ? ahead.key : Vault.newKey(passphrase);
  const identity = await provisionVault(ca, options, await key, context.stop);
  const { id, role, serial, notAfterMs, replaced } = identity;
  context.terminal.result({ id, role, serial, notAfter: isoTime(notAfterMs), vault: options.vault, replaced }, [
    `${id} is provisioned: certificate ${serial}, valid until ${day(notAfterMs)}, in ${options.vault}.`,
    ...replaced.map((old) => `  revoked ${old}`),
  ]);
}

/** On another thread, while the CA is opened. */
function vaultKeyAhead(options: ProvisionOptions, { env }: Context): { passphrase: string; key: Promise<VaultKey> } | undefined {
  const passphrase = foreseenVaultPassphrase(options, env);
  if (passphrase === undefined) return undefined;
  const key = Vault.newKey(passphrase);
  // Told when it is needed.
  key.catch(() => undefined);
  return { passphrase, key };
}

/** Before anything is asked or opened. The role that a replaced device has needs no check. */
export function checkRoleOf({ dir, role, replace = false }: { dir: string; role?: string; replace?: boolean }): void {
  if (role !== undefined || !replace) checkDeviceRole(policyOf(unprovedFiles(new CaDirectory(dir))), role ?? USUAL_DEVICE_ROLE);
}

/** Makes the device's identity in a new vault; a failure changes neither the disk nor the registry. */
export async function provisionVault(
  ca: CertificateAuthority,
  options: VaultRequest,
  secret: string | VaultKey,
  stop: StopSignal,
): Promise<DeviceIdentity> {
  stop.check();
  const staged = Vault.createStaged(options.vault, secret, { replace: options.replace === true });
  try {
    return await fill(staged, ca, options, stop);
  } finally {
    // Does nothing once it was committed.
    staged.discard();
    staged.vault.close();
  }
}

/** Found out before anything is made: a later failure would have to be undone. */
function checkPlace(vault: string, replace: boolean): void {
  const path = resolve(vault);
  if (existsSync(path) && !replace)
    throw new HawserError("VAULT_EXISTS", `${vault} already exists`, "Choose another path, or use --replace to put a new vault there.");
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch {
    throw new HawserError(
      "STORAGE_FAILED",
      `cannot create a vault in ${dirname(path)}`,
      "Check that the directory exists and that this user may write there.",
    );
  }
}

/** The registry first knows the name, then the certificate, then that the vault is in place; a failure takes all of it back. */
async function fill(staged: StagedVault, ca: CertificateAuthority, options: VaultRequest, stop: StopSignal): Promise<DeviceIdentity> {
  const { id, role } = options;
  const reservation = await ca.reserve({
    id,
    ...(role !== undefined && { role }),
    replace: options.replace === true,
    attributes: attributesOf(options.attribute),
  });
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

async function install(
  { keyStore, storage }: Vault,
  ca: CertificateAuthority,
  reservation: Reservation,
  stop: StopSignal,
): Promise<DeviceIdentity> {
  keyStore.generate(keySlot("a"));
  const request = keyStore.csr(keySlot("a"), reservation.id);
  // From here on it goes through to the end: with --replace the old identity is revoked by the next step.
  stop.check();
  const identity = await ca.complete(reservation, request);
  const { id, role, chain, trustAnchors, psk, pskIdentity, topics } = identity;
  keyStore.importPsk(PSK_SLOT, psk);
  psk.fill(0);
  installIdentity(storage, keyStore, { id, role, chain, trustAnchors, pskIdentity, topics });
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
