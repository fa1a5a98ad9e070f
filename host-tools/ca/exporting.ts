/** What leaves the CA for other systems: read and put on the audit trail in one change, before anything is written. */
import { createHash } from "node:crypto";
import type { EntryState } from "../ca-directory/registry-entry.js";
import { currentCertificate } from "../ca-directory/state-transitions.js";
import { chainOf } from "./context.js";
import type { CaContext } from "./context.js";
import { anyActivePsk } from "./sealed-psk.js";

export interface ExportDevice {
  readonly id: string;
  readonly role: string;
  readonly state: EntryState;
  readonly attributes: Readonly<Record<string, string>>;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKeySha256: string;
  readonly certificateSha256: string;
  /** DER: the device's, then the CAs between it and the root. */
  readonly chain: readonly Uint8Array[];
  /** Secret; only where it was asked for. */
  readonly psk?: Buffer;
}

export interface ExportMaterial {
  readonly root: Uint8Array;
  readonly issuing: Uint8Array;
  /** Active devices with a valid certificate, by id. */
  readonly devices: readonly ExportDevice[];
}

export interface ExportRequest {
  /** Which export it is, for the audit trail. */
  readonly form: string;
  /** Only these; all when left out. */
  readonly ids?: readonly string[];
  readonly role?: string;
  readonly secrets?: boolean;
}

/** Throws as every change. */
export async function readForExport(ca: CaContext, { form, ids, role, secrets = false }: ExportRequest): Promise<ExportMaterial> {
  return ca.store.change((draft) => {
    const devices: ExportDevice[] = [];
    for (const entry of [...draft.entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const current = currentCertificate(entry);
      if (entry.kind !== "device" || entry.state !== "active" || current?.der === undefined) continue;
      if ((ids !== undefined && !ids.includes(entry.name)) || (role !== undefined && entry.role !== role)) continue;
      const der = Buffer.from(current.der, "base64");
      const psk = secrets ? anyActivePsk(ca.keys, entry) : undefined;
      devices.push({
        id: entry.name,
        role: entry.role,
        state: entry.state,
        attributes: entry.attributes ?? {},
        serial: current.serial,
        notBeforeMs: current.notBeforeMs,
        notAfterMs: current.notAfterMs,
        publicKeySha256: current.publicKeyHash,
        certificateSha256: createHash("sha256").update(der).digest("hex"),
        chain: chainOf(ca.keys, der),
        ...(psk && { psk }),
      });
    }
    const [only] = devices.length === 1 ? devices : [];
    draft.record({ event: "exported", form, devices: devices.length, secrets: secrets ? "yes" : "no", ...(only && { name: only.id }) });
    return { root: ca.keys.root.certificate, issuing: ca.keys.issuing.certificate, devices };
  });
}
