import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toPem } from "../../../host-tools/pki/pem.js";
import { OpensslCa } from "../../../test/support/node/est-server.js";
import { readCertsOnly } from "./certs-only.js";

const room = mkdtempSync(join(tmpdir(), "hawser-certs-only-"));
let ca: OpensslCa;

beforeAll(() => {
  ca = new OpensslCa(join(room, "ca"));
  ca.another("stranger", "stranger-issuing");
});
afterAll(() => rmSync(room, { recursive: true, force: true }));

/** What `openssl pkcs7` finds in a message: PEM. */
function judged(message: Uint8Array): string {
  const file = join(room, "message");
  writeFileSync(file, message);
  const said = execFileSync("openssl", ["pkcs7", "-inform", "DER", "-in", file, "-print_certs"], { encoding: "utf8" });
  return (said.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n/g) ?? []).join("");
}

const read = (message: Uint8Array): string =>
  readCertsOnly(message)
    .map((der) => toPem("CERTIFICATE", der))
    .join("");

const refusal = expect.objectContaining({
  code: "EST_ANSWER_INVALID",
  nextStep: expect.stringContaining("Check the URL") as string,
}) as Error;

describe("A certs-only message", () => {
  it.each([[["root"]], [["issuing", "root"]], [["issuing", "root", "stranger", "stranger-issuing"]]])(
    "of %j is read as OpenSSL reads it",
    async (names) => {
      const message = await ca.certsOnly(...names);
      expect(read(message)).toBe(judged(message));
      expect(readCertsOnly(message)).toHaveLength(names.length);
    },
  );

  it("with revocation lists beside the certificates is read without them", async () => {
    writeFileSync(join(ca.directory, "lists.crl"), ca.crlPem);
    const parameters = ["crl2pkcs7", "-in", "lists.crl", "-certfile", "issuing.crt", "-outform", "DER"];
    const { stdout: message } = await ca.openssl(...parameters);
    expect(read(message)).toBe(judged(message));
  });

  it("cut short anywhere, or with a byte behind its end, is refused", async () => {
    const message = await ca.certsOnly("issuing", "root");
    for (let size = 0; size < message.length; size++) expect(() => readCertsOnly(message.subarray(0, size))).toThrow(refusal);
    expect(() => readCertsOnly(Buffer.concat([message, Buffer.of(0)]))).toThrow(refusal);
  });

  it("with any one bit turned is refused or gives certificates that lie within it, and never throws anything else", async () => {
    const message = await ca.certsOnly("root");
    for (let bit = 0; bit < message.length * 8; bit++) {
      const bent = Buffer.from(message);
      bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        for (const der of readCertsOnly(bent)) expect(bent.includes(Buffer.from(der))).toBe(true);
      } catch (error) {
        expect(error).toEqual(refusal);
      }
    }
  });

  it("that somebody has signed is refused: it is another kind, and nobody checks that signature", async () => {
    writeFileSync(join(ca.directory, "text"), "text");
    const signed = ["cms", "-sign", "-in", "text", "-signer", "issuing.crt", "-inkey", "issuing.key", "-nodetach", "-outform", "DER"];
    const { stdout } = await ca.openssl(...signed);
    expect(() => readCertsOnly(stdout)).toThrow(refusal);
  });

  it("without certificates, or with a certificate in its place, is refused", async () => {
    writeFileSync(join(ca.directory, "only.crl"), ca.crlPem);
    const { stdout } = await ca.openssl("crl2pkcs7", "-in", "only.crl", "-outform", "DER");
    expect(() => readCertsOnly(stdout)).toThrow(refusal);
    expect(() => readCertsOnly(ca.der("root"))).toThrow(refusal);
  });
});
