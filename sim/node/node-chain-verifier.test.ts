import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { beforeAll, describe, expect, it } from "vitest";
import { nodeChainVerifier } from "./node-chain-verifier.js";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

interface Holder {
  name: string;
  keys: webcrypto.CryptoKeyPair;
  der: Uint8Array;
}

async function made(name: string, isCa: boolean, issuer?: Holder): Promise<Holder> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: "01",
    subject: `CN=${name}`,
    issuer: `CN=${issuer?.name ?? name}`,
    // Dates are not judged: this one begins in the far future.
    notBefore: new Date(Date.UTC(2049, 0, 1)),
    notAfter: new Date(Date.UTC(2049, 11, 1)),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [new x509.BasicConstraintsExtension(isCa, undefined, true)],
  });
  return { name, keys, der: new Uint8Array(certificate.rawData) };
}

describe("Node's judgement of a chain", () => {
  let root: Holder, issuing: Holder, leaf: Holder, stranger: Holder;
  beforeAll(async () => {
    x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
    root = await made("root", true);
    issuing = await made("issuing", true, root);
    leaf = await made("sensor-1", false, issuing);
    stranger = await made("root", true);
  });

  it("finds the way to a root, or to a CA on the way, whatever the dates", () => {
    expect(nodeChainVerifier.leadsTo([leaf.der, issuing.der], [root.der])).toBe(true);
    expect(nodeChainVerifier.leadsTo([leaf.der], [stranger.der, issuing.der])).toBe(true);
  });

  it("finds none to a CA of the same name and another key, through a gap, or to nobody", () => {
    expect(nodeChainVerifier.leadsTo([leaf.der, issuing.der], [stranger.der])).toBe(false);
    expect(nodeChainVerifier.leadsTo([leaf.der], [root.der])).toBe(false);
    expect(nodeChainVerifier.leadsTo([leaf.der, issuing.der], [])).toBe(false);
    expect(nodeChainVerifier.leadsTo([], [root.der])).toBe(false);
  });

  it("does not take a device for a CA", async () => {
    const forged = await made("sensor-2", false, leaf);
    expect(nodeChainVerifier.leadsTo([forged.der, leaf.der, issuing.der], [root.der])).toBe(false);
  });

  it("finds none in what cannot be read", () => {
    expect(nodeChainVerifier.leadsTo([Uint8Array.of(1, 2, 3)], [root.der])).toBe(false);
    expect(nodeChainVerifier.leadsTo([leaf.der, issuing.der], [Uint8Array.of(1, 2, 3)])).toBe(false);
  });
});
