/** Who gives boards their certificates: the CA on this machine, or a central authority elsewhere. */
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { caEndsMs } from "../../ca/expiry.js";
import { issueOnce } from "../issue-once.js";
import type { IssuedIdentity } from "../issue-once.js";

export interface BoardRequest {
  readonly id: string;
  readonly role: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** 12 lower-case hexadecimal digits. */
  readonly mac?: string;
  /** Take the place of the board that has this id: its certificates are revoked. */
  readonly replace: boolean;
}

export interface BoardIssuer {
  /**
   * One identity for one key, however often it is asked for.
   *
   * @param csr PKCS#10, DER, already checked
   * @param publicKeyHash SHA-256 of the key in it
   * @throws HawserError `ID_EXISTS`, `RESERVED_NAME` when the id is somebody else's, and those of the CA
   */
  issue(request: BoardRequest, csr: Uint8Array, publicKeyHash: string): Promise<IssuedIdentity>;
  /** Whether the registry has the id as active with this certificate. */
  isRegistered(id: string, serial: string): Promise<boolean>;
  /** When the first of the CA's own certificates ends, milliseconds since the epoch; undefined while that is not known. */
  endsMs(): number | undefined;
}

/** The CA directory on this machine. */
export function localIssuer(ca: CertificateAuthority): BoardIssuer {
  return {
    async issue({ id, role, attributes, replace }, csr, publicKeyHash) {
      const issued = await issueOnce(ca, { id, role, replace }, csr, publicKeyHash);
      try {
        if (Object.keys(attributes).length > 0) await ca.setName({ id, attributes });
      } catch (error) {
        issued.psk?.fill(0);
        throw error;
      }
      return issued;
    },
    async isRegistered(id, serial) {
      const listed = (await ca.list()).find(({ name }) => name === id);
      return listed?.state === "active" && listed.serial === serial;
    },
    endsMs: () => caEndsMs(new CaDirectory(ca.directory)),
  };
}
