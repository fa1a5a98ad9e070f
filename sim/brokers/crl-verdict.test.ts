import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { removeDirectory } from "../node/files/remove-directory.js";
import { makeCertificate, makeRoot, validityFrom, type Issuer } from "../../host-tools/pki/certificate-profiles.js";
import { toPem } from "../../host-tools/pki/pem.js";
import { makeCrl, type CrlRequest } from "../../host-tools/pki/signed-crl.js";
import { generateKey, nodeCrypto } from "../../host-tools/pki/signer.js";
import { RevocationLists, type RevocationVerdict } from "./crl-verdict.js";
import { KnownCas } from "./known-cas.js";

const OPENSSL_CA = `[ca]
default_ca = d
[d]
database = index
default_crl_days = 30
default_md = sha256
crl_extensions = lists
[place]
fullname = URI:http://ca.example/list
[devices]
onlyuser = TRUE
[reasons]
onlysomereasons = keyCompromise
[relative]
relativename = name
[name]
CN = list
`;
const DAY_MS = 86_400_000;
const NOW_MS = Math.floor(Date.now() / 1000) * 1000;
const BASE = "http://ca.example/lists";

async function makeCa(commonName: string, above?: Issuer): Promise<Issuer> {
  const key = await generateKey();
  const publicKey = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", key.publicKey));
  const validity = validityFrom(NOW_MS, 30 * DAY_MS);
  const { der } = await (above === undefined
    ? makeRoot(commonName, publicKey, key.signer, validity)
    : makeCertificate({ commonName, publicKey, profile: { kind: "issuing" }, validity }, above));
  return { signer: key.signer, certificate: der };
}

async function makeLeaf(issuer: Issuer, crlBase?: string): Promise<X509Certificate> {
  const { publicKey: key } = await generateKey();
  const publicKey = new Uint8Array(await nodeCrypto.subtle.exportKey("spki", key));
  const request = { commonName: "dev1", publicKey, profile: { kind: "client" }, validity: validityFrom(NOW_MS, DAY_MS) } as const;
  const { der } = await makeCertificate({ ...request, ...(crlBase === undefined ? {} : { crlBase }) }, issuer);
  return new X509Certificate(der);
}

const listOf = (issuer: Issuer, changes: Partial<CrlRequest> = {}): Promise<string> =>
  makeCrl(issuer, { number: 1, thisUpdateMs: NOW_MS - DAY_MS, nextUpdateMs: NOW_MS + DAY_MS, revoked: [], ...changes });

const revoking = ({ serialNumber }: X509Certificate): Pick<CrlRequest, "revoked"> => ({
  revoked: [{ serial: serialNumber.toLowerCase(), revokedAtMs: NOW_MS - 1000, reason: "superseded" }],
});
const pemOf = (...cas: readonly Issuer[]): string => cas.map(({ certificate }) => toPem("CERTIFICATE", certificate)).join("");

let root: Issuer;
let issuing: Issuer;
beforeAll(async () => {
  root = await makeCa("Plant Root CA");
  issuing = await makeCa("Plant Issuing CA", root);
});

async function lists(texts: readonly Promise<string>[], known: readonly Issuer[] = [issuing], roots = [root]): Promise<RevocationLists> {
  return new RevocationLists((await Promise.all(texts)).join(""), new KnownCas(pemOf(...roots), pemOf(...known)), NOW_MS);
}

function verdict(by: RevocationLists, certificate: X509Certificate, nowMs = NOW_MS): RevocationVerdict {
  return by.judge(by.listed(certificate), nowMs);
}

describe("revocation lists of known CAs", () => {
  it("are judged by without OpenSSL, the root's and those of CAs between, until the first of them ends", async () => {
    const policy = await makeCa("Plant Policy CA", root);
    const below = await makeCa("Plant Works CA", policy);
    const leaf = await makeLeaf(below);
    const upper = listOf(policy, { nextUpdateMs: NOW_MS + 1000 });
    const good = await lists([listOf(below), upper, listOf(root)], [below, policy]);
    expect([good.judgeAlone, verdict(good, leaf), verdict(good, leaf, NOW_MS + 1001)]).toEqual([true, "good", "CRL_EXPIRED"]);
    const shut = listOf(policy, revoking(new X509Certificate(below.certificate)));
    expect(verdict(await lists([listOf(below), shut, listOf(root)], [below, policy]), leaf)).toBe("CERTIFICATE_REVOKED");
    expect(verdict(await lists([listOf(below), listOf(root)], [below, policy]), leaf)).toBe("CRL_MISSING");
    expect(verdict(await lists([listOf(below), listOf(root)], [below]), leaf)).toBe("CRL_MISSING");
  });

  it("tell CAs of one name apart by their keys: each list counts for its own certificates", async () => {
    const namesake = await makeCa("Plant Issuing CA", root);
    const [ours, theirs] = [await makeLeaf(issuing), await makeLeaf(namesake)];
    const both = [issuing, namesake];
    const shut = await lists([listOf(issuing, revoking(ours)), listOf(namesake), listOf(root)], both);
    expect([verdict(shut, ours), verdict(shut, theirs)]).toEqual(["CERTIFICATE_REVOKED", "good"]);
    const ended = await lists([listOf(issuing, { nextUpdateMs: NOW_MS - 1 }), listOf(namesake), listOf(root)], both);
    expect([verdict(ended, ours), verdict(ended, theirs)]).toEqual(["CRL_EXPIRED", "good"]);
    const one = await lists([listOf(namesake), listOf(root)], both);
    expect([one.judgeAlone, verdict(one, ours)]).toEqual([true, "CRL_MISSING"]);
  });

  it("know the roots of one name during a rollover", async () => {
    const next = await makeCa("Plant Root CA");
    const nextIssuing = await makeCa("Plant Issuing CA 2", next);
    const [old, fresh] = [await makeLeaf(issuing), await makeLeaf(nextIssuing)];
    const shut = listOf(root, revoking(new X509Certificate(issuing.certificate)));
    for (const rootLists of [
      [shut, listOf(next)],
      [listOf(next), shut],
    ]) {
      const by = await lists([listOf(nextIssuing), listOf(issuing), ...rootLists], [nextIssuing, issuing], [next, root]);
      expect([by.judgeAlone, verdict(by, old), verdict(by, fresh)]).toEqual([true, "CERTIFICATE_REVOKED", "good"]);
    }
  });

  it("that name places count for certificates that name one of them", async () => {
    const bases = ["http://old.example", BASE];
    const [named, moved, unnamed] = [await makeLeaf(issuing, BASE), await makeLeaf(issuing, "http://new.example"), await makeLeaf(issuing)];
    const by = await lists([listOf(issuing, { crlBases: bases }), listOf(root)]);
    expect(by.judgeAlone).toBe(true);
    expect([named, moved, unnamed].map((leaf) => verdict(by, leaf))).toEqual(["good", "CRL_MISSING", "CRL_MISSING"]);
    const everywhere = await lists([listOf(issuing), listOf(root)]);
    expect([named, moved, unnamed].map((leaf) => verdict(everywhere, leaf))).toEqual(["good", "good", "good"]);
  });
});

describe("revocation lists are left to OpenSSL", () => {
  it("where the CA of one is not known, or a list begins in the future", async () => {
    const leaf = await makeLeaf(issuing);
    const texts = [listOf(issuing, revoking(leaf)), listOf(root)];
    const unknown = await lists(texts, []);
    expect([unknown.judgeAlone, unknown.pems.length, verdict(unknown, leaf)]).toEqual([false, 2, "CERTIFICATE_REVOKED"]);
    expect((await lists([listOf(issuing, { thisUpdateMs: NOW_MS + 1000 }), listOf(root)])).judgeAlone).toBe(false);
    expect((await lists(texts)).judgeAlone).toBe(true);
  });

  it.each<[what: string, extension: string, isJudgedHere: boolean]>([
    ["has a number", "2.5.29.20 = DER:020107", true],
    ["names a place", "issuingDistributionPoint = critical,@place", true],
    ["is for devices only", "issuingDistributionPoint = critical,@devices", false],
    ["is for some reasons only", "issuingDistributionPoint = critical,@reasons", false],
    ["names a place relative to its issuer", "issuingDistributionPoint = critical,@relative", false],
    ["is a delta", "2.5.29.27 = critical,DER:020101", false],
    ["has an extension that must be understood", "1.2.3.4 = critical,DER:0500", false],
  ])("unless one that %s is judged here: %#", (_what, extension, isJudgedHere) => {
    const folder = mkdtempSync(join(tmpdir(), "hawser-crl-verdict-"));
    const openssl = (...args: string[]): string =>
      execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    try {
      const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "o.key"];
      openssl("req", "-x509", ...key, "-out", "o.pem", "-subj", "/CN=Other Root", "-days", "9");
      writeFileSync(join(folder, "ca.cnf"), `${OPENSSL_CA}[lists]\n${extension}\n`);
      writeFileSync(join(folder, "index"), "");
      openssl("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "o.key", "-cert", "o.pem", "-out", "o.crl");
      const pem = readFileSync(join(folder, "o.crl"), "utf8");
      const cas = new KnownCas(readFileSync(join(folder, "o.pem"), "utf8"), "");
      expect(new RevocationLists(pem, cas, Date.now() + DAY_MS).judgeAlone).toBe(isJudgedHere);
    } finally {
      removeDirectory(folder);
    }
  });
});
