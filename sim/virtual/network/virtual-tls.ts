/** What the two sides of TLS find out about each other in this world, without any cryptography. */
import { failure, type Failure, type Shown } from "../../../sdk/failure.js";
import type { Credential, Endpoint } from "../../../sdk/platform.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { publicKeyOf } from "../pki/world-certificates.js";
import type { VirtualKeys } from "../power/key-store.js";
import type { Listener } from "./network.js";

/** What a server sees of its client. */
export type ShownCredential =
  { kind: "certificate"; chain: readonly Uint8Array[] } | { kind: "psk"; identity: string; key: Uint8Array } | { kind: "none" };

/** What a dialer can show for `credential`, or why it cannot: a TLS engine finds that out before it sends anything. */
export function showCredential(credential: Credential, keys: VirtualKeys): ShownCredential | Failure {
  if (credential.kind === "none") return { kind: "none" };
  if (credential.kind === "server-auth") return { kind: "certificate", chain: [] };
  const stored = keys.peek(credential.slot);
  if (credential.kind === "psk") {
    if (stored?.kind !== "psk") return failure("KEY_MISSING", `slot ${credential.slot} holds no pre-shared key`);
    return { kind: "psk", identity: credential.identity, key: stored.key };
  }
  if (stored?.kind !== "pair") return failure("KEY_MISSING", `slot ${credential.slot} holds no key pair`);
  const leaf = credential.chain[0];
  if (!leaf) return { kind: "certificate", chain: [] };
  if (!sameBytes(readCertificate(leaf).publicKey, publicKeyOf(stored.secret)))
    return failure("KEY_MISMATCH", "the certificate is not for the key in its slot");
  return { kind: "certificate", chain: credential.chain };
}

/** What the device finds wrong with the server's certificate; undefined when all is well. With a pre-shared key there is none to judge. */
export function serverFault(endpoint: Endpoint, credential: Credential, listener: Listener): Failure | undefined {
  if (!("trustAnchors" in credential)) return undefined;
  const { root, names, notBeforeMs, notAfterMs } = listener.certificate;
  if (!credential.trustAnchors.some((anchor) => sameBytes(anchor, root)))
    return failure("SERVER_CA_UNKNOWN", "the server's certificate leads to no trusted root");
  const name = endpoint.serverName ?? endpoint.host;
  if (!names.includes(name)) return failure("SERVER_NAME_MISMATCH", `the server's certificate is not for ${name}`);
  const atMs = endpoint.validAtMs;
  if (atMs !== undefined && atMs < notBeforeMs)
    return failure("SERVER_CERTIFICATE_NOT_YET_VALID", "the server's certificate is not valid yet");
  if (atMs !== undefined && atMs > notAfterMs) return failure("SERVER_CERTIFICATE_EXPIRED", "the server's certificate has expired");
  return undefined;
}

/** How an alert has to be read, by what was shown. */
export function shownAs(shown: ShownCredential): Shown {
  if (shown.kind === "psk") return "psk";
  return shown.kind === "certificate" && shown.chain.length > 0 ? "certificate" : "no-certificate";
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
