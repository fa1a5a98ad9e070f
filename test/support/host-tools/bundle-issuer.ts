/** A CA in memory: a root, an issuing CA, and what it signs. */
import { makeCertificate, makeRoot, validityFrom } from "../../../host-tools/pki/certificate-profiles.js";
import { toPem } from "../../../host-tools/pki/pem.js";
import { generateKey, nodeCrypto } from "../../../host-tools/pki/signer.js";

export interface TestIssuer {
  readonly rootPem: string;
  /** A certificate that lives for five minutes. */
  leaf(commonName: string): Promise<{ keyPem: string; chainPem: string }>;
}

export async function newIssuer(): Promise<TestIssuer> {
  const validity = validityFrom(Date.now(), 86_400_000);
  const spkiOf = async (key: Awaited<ReturnType<typeof generateKey>>): Promise<Uint8Array> =>
    new Uint8Array(await nodeCrypto.subtle.exportKey("spki", key.publicKey));
  const [rootKey, issuingKey] = [await generateKey(), await generateKey()];
  const { der: root } = await makeRoot("Root", await spkiOf(rootKey), rootKey.signer, validity);
  const top = { certificate: root, signer: rootKey.signer };
  const profile = { kind: "issuing" } as const;
  const { der } = await makeCertificate({ commonName: "Issuing", publicKey: await spkiOf(issuingKey), profile, validity }, top);
  const issuing = { certificate: der, signer: issuingKey.signer };
  return {
    rootPem: toPem("CERTIFICATE", root),
    leaf: async (commonName) => {
      const key = await generateKey();
      const short = validityFrom(Date.now(), 300_000);
      const request = { commonName, publicKey: await spkiOf(key), profile: { kind: "client" }, validity: short } as const;
      const leaf = await makeCertificate(request, issuing);
      return { keyPem: toPem("PRIVATE KEY", key.pkcs8), chainPem: toPem("CERTIFICATE", leaf.der) + toPem("CERTIFICATE", der) };
    },
  };
}
