/**
 * Gives the device at the other end of a serial line its identity. Stopped anywhere, by either side, it is run again: a device that is
 * empty gives a request for the same key again, the CA gives the same certificate for the same key again, and a device that has it says so.
 */
import { randomBytes } from "node:crypto";
import { errorCode, HawserError } from "../../sdk/errors.js";
import { recoveryIdentity } from "../../sdk/identity/device-id.js";
import { NONCE_BYTES } from "../../sdk/provisioning/messages.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { checkRequest } from "../pki/certificate-request.js";
import type { ListedName } from "../ca-directory/registry.js";
import { binary, checkProof, readState } from "./device-answers.js";
import type { DeviceState } from "./device-answers.js";
import { issueOnce } from "./issue-once.js";
import type { IssuedIdentity } from "./issue-once.js";
import type { StationLink } from "./station-link.js";

export interface SerialProvisioning {
  readonly id: string;
  /** Left out: see `ReserveRequest`. */
  readonly role?: string;
  /** Take the place of another device that has this id: what it had is revoked when the new identity is issued. */
  readonly replace?: boolean;
  /** How long to wait for a device to be there, milliseconds. Default 30 s: one may have to be plugged in, or be starting. */
  readonly waitMs?: number;
  /** For the policy's scopes and topics. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Called between the steps until the certificate is issued, and not after it; what it throws ends the work with nothing changed. */
  readonly check?: () => void;
}

export interface ProvisionedDevice {
  readonly id: string;
  readonly role: string;
  readonly serial: string;
  readonly notAfterMs: number;
  /** Serials of the certificates that were revoked for this one (with `replace`). */
  readonly replaced: readonly string[];
}

const DEFAULT_WAIT_MS = 30_000;
/** How often it is begun with a device that starts anew, or falls silent, in between. */
const ROUNDS = 3;

/**
 * @throws HawserError `DEVICE_SILENT`, `LINE_LOST`, `ALREADY_PROVISIONED`, `BAD_ANSWER`, `BAD_PROOF`, `BAD_REQUEST`, `BAD_SIGNATURE`,
 *   `WRONG_SUBJECT`, `ID_EXISTS`, `INVALID_ID`,
 *   `INVALID_ROLE`, what else the device refuses with, what `check` throws, and those of every change of the CA
 */
export async function provisionOverSerial(
  link: StationLink,
  ca: CertificateAuthority,
  work: SerialProvisioning,
): Promise<ProvisionedDevice> {
  let replaced: readonly string[] = [];
  let check = work.check;
  for (let round = 1; ; round++) {
    const nonce = randomBytes(NONCE_BYTES);
    const state = await hello(link, nonce, work.waitMs, check);
    if (state.isProvisioned) {
      const known = provisionedAs(state, await listedName(ca, work.id), work.id);
      await link.request("done").catch(unlessGone);
      return { ...known, replaced };
    }
    try {
      const issued = await issue(link, ca, nonce, work, check);
      check = undefined;
      replaced = [...replaced, ...issued.replaced];
      await install(link, nonce, issued);
      await link.request("done");
      return { id: work.id, role: issued.role, serial: issued.serial, notAfterMs: issued.notAfterMs, replaced };
    } catch (error) {
      if (round === ROUNDS || !isWorthAnotherRound(error)) throw error;
    }
  }
}

async function hello(link: StationLink, nonce: Uint8Array, waitMs = DEFAULT_WAIT_MS, check?: () => void): Promise<DeviceState> {
  const untilMs = performance.now() + waitMs;
  for (;;) {
    check?.();
    try {
      return readState(await link.request("hello", { nonce: base64(nonce) }, 1), nonce);
    } catch (error) {
      if (errorCode(error) !== "DEVICE_SILENT" || performance.now() >= untilMs) throw error;
    }
  }
}

async function issue(
  link: StationLink,
  ca: CertificateAuthority,
  nonce: Uint8Array,
  work: SerialProvisioning,
  check?: () => void,
): Promise<IssuedIdentity> {
  const answer = await link.request("generate", { id: work.id });
  const csr = binary(answer["csr"], "csr");
  const { publicKey, publicKeyHash } = await checkRequest(csr, work.id);
  checkProof(publicKey, binary(answer["proof"], "proof"), nonce);
  check?.();
  return issueOnce(ca, work, csr, publicKeyHash);
}

async function install(link: StationLink, nonce: Uint8Array, issued: IssuedIdentity): Promise<void> {
  await sendIdentity(link, issued);
  checkHolds(readState(await link.request("status"), nonce), issued);
}

/** Writes an identity into the device; the pre-shared key is wiped here, whatever happens. */
export async function sendIdentity(link: StationLink, { id, role, chain, trustAnchors, psk, topics }: IssuedIdentity): Promise<void> {
  try {
    await link.request("install", {
      id,
      role,
      chain: chain.map(base64),
      trustAnchors: trustAnchors.map(base64),
      ...(psk && { psk: { identity: recoveryIdentity(id), key: base64(psk) } }),
      ...(topics && { topics }),
    });
  } finally {
    psk?.fill(0);
  }
}

/** @throws HawserError `READ_BACK_FAILED` */
export function checkHolds(
  state: DeviceState,
  { id, serial, publicKeyHash }: Pick<IssuedIdentity, "id" | "serial" | "publicKeyHash">,
): void {
  if (state.id !== id || state.serial !== serial || state.publicKeyHash !== publicKeyHash) {
    throw new HawserError(
      "READ_BACK_FAILED",
      `the device does not hold the installed identity: it reports ${state.id ?? "no id"}, ${state.serial ?? "no certificate"}`,
      "Set this device aside: its flash may be damaged.",
    );
  }
}

/** The device has an identity: it is done if that is the one that was to be given. */
function provisionedAs(state: DeviceState, listed: ListedName | undefined, id: string): Omit<ProvisionedDevice, "replaced"> {
  const certificate =
    listed?.state === "active"
      ? listed.certificates.find(({ serial, status }) => serial === state.serial && status === "active")
      : undefined;
  if (state.id === id && listed !== undefined && certificate !== undefined && certificate.publicKeyHash === state.publicKeyHash) {
    return { id, role: listed.role, serial: certificate.serial, notAfterMs: certificate.notAfterMs };
  }
  const who = state.id === undefined ? "an identity" : `the identity of ${state.id}`;
  const next = "Take another device, or erase this one's flash (esptool.py erase_flash) and flash it again.";
  throw new HawserError("ALREADY_PROVISIONED", `the connected device already has ${who}`, next);
}

async function listedName(ca: CertificateAuthority, id: string): Promise<ListedName | undefined> {
  return (await ca.list()).find(({ name }) => name === id);
}

/** The device has begun anew (power, reset), or parts of the line were lost for long. */
function isWorthAnotherRound(error: unknown): boolean {
  return ["WRONG_STATE", "DEVICE_SILENT"].includes(errorCode(error));
}

/** A device that was provisioned before needs no goodbye. */
function unlessGone(error: unknown): void {
  if (!isWorthAnotherRound(error)) throw error;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
