/** Handshakes that a careful broker refuses: old versions and weak suites. */
import type { ConnectionOptions } from "node:tls";
import { dial, isTls } from "./observed-connection.js";
import type { LiveAudit } from "./live-audit.js";

export async function probeTlsVersions(audit: LiveAudit): Promise<void> {
  const { target } = audit.options;
  const completes = async (options: ConnectionOptions): Promise<string | undefined> => {
    const dialled = await dial(target, options, audit.budget);
    if (!("socket" in dialled)) return undefined;
    const how = isTls(dialled.socket) ? `${dialled.socket.getProtocol() ?? ""} ${dialled.socket.getCipher().name}` : undefined;
    dialled.socket.destroy();
    return how;
  };
  for (const [version, name] of [
    ["TLSv1", "TLS 1.0"],
    ["TLSv1.1", "TLS 1.1"],
  ] as const) {
    const how = await completes({ minVersion: version, maxVersion: version, ciphers: "DEFAULT:@SECLEVEL=0" });
    if (how !== undefined) audit.find("HW043", `Port ${target.port} accepts ${name} (${how}).`);
  }
  const weak = await completes({ minVersion: "TLSv1.2", maxVersion: "TLSv1.2", ciphers: "aNULL:eNULL:@SECLEVEL=0" });
  if (weak !== undefined) audit.find("HW044", `Port ${target.port} accepts a suite without authentication or encryption (${weak}).`);
}
