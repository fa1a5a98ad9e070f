/** The reader of X.509 certificates: whatever the bytes are, fields within their ranges or a typed error. */
import { X509Certificate } from "node:crypto";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { byteBend, words } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";

const CERTIFICATE_WORDS = words(
  [0x30, 0x80],
  [0x30, 0x81, 0x80],
  [0x30, 0x82, 0xff, 0xff],
  [0x30, 0x83, 0, 0, 1],
  [0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
  [0x31, 0],
  [0x02, 0],
  [0x02, 1, 0],
  [0xa0, 3, 2, 1, 2],
  [0x06, 3, 0x55, 4, 3],
  [0x0c, 1, 0xff],
  [0x1e, 2, 0, 0x61],
  [0x17, 13],
  [0x18, 15],
  "991231235959Z",
  "99991231235959Z",
  "00000000000000Z",
  [0x05, 0],
);

export const certificate: Target = {
  name: "certificate",
  inputs: 250_000,
  maximumBytes: 20_000,
  bend: byteBend(CERTIFICATE_WORDS),
  async open() {
    return (input) => {
      const { serial, commonName, notBeforeMs, notAfterMs, publicKey } = readCertificate(input);
      promise(/^[0-9a-f]+$/.test(serial) && (serial === "0" || !serial.startsWith("0")), `the serial is ${JSON.stringify(serial)}`);
      promise(typeof commonName === "string" && commonName.length <= input.length, "the common name is longer than the certificate");
      promise(Number.isFinite(notBeforeMs) && Number.isFinite(notAfterMs), "a date is no number");
      promise(publicKey.length >= 2 && publicKey.length < input.length, "the public key is not part of the certificate");
      return sameAsNode(input, serial, notBeforeMs, notAfterMs);
    };
  },
};

/**
 * Where OpenSSL reads the certificate too, serial and dates are the same; but for negative serials and impossible dates, which no authority
 * issues.
 */
function sameAsNode(der: Uint8Array, serial: string, notBeforeMs: number, notAfterMs: number): string {
  let node: X509Certificate;
  try {
    node = new X509Certificate(der);
  } catch {
    return "ok here only";
  }
  const { serialNumber, validFrom, validTo } = node;
  promise(
    serialNumber.startsWith("-") || serialNumber.toLowerCase().replace(/^0+(?=.)/, "") === serial,
    `serial ${serial}, for Node ${serialNumber}`,
  );
  for (const [ms, text] of [
    [notBeforeMs, validFrom],
    [notAfterMs, validTo],
  ] as const) {
    promise(text.startsWith("Bad") || Date.parse(text) === ms, `a date is ${ms}, for Node ${text}`);
  }
  return "ok";
}
