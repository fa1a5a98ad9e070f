/** OCSP as OpenSSL's client asks for it. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { RevocationList } from "../../sim/node/revocation-list.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openCa, type CertificateAuthority } from "../ca/certificate-authority.js";
import { fromPem, toPem } from "../pki/pem.js";
import { startCrlServer, type CrlServer } from "./crl-server.js";
import { OcspResponder, type OcspIssuer } from "./ocsp-responder.js";

const DAY_MS = 24 * 60 * 60_000;
const scene = new Scene();
let server: CrlServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  await scene.clean();
});

const run = promisify(execFile);

function listsOf(ca: CertificateAuthority): RevocationList[] {
  return fromPem("X509 CRL", readFileSync(join(ca.directory, "crl.pem"), "utf8")).map((der) => new RevocationList(der));
}

/** A responder of a CA, whose lists and signers a test may hold back. */
async function responder(ca: CertificateAuthority, listOf = (_issuer: Uint8Array) => listsOf(ca)[0]): Promise<OcspIssuer[]> {
  const issuers = await ca.ocspSigners(DAY_MS);
  const ocsp = new OcspResponder({ issuers: () => Promise.resolve(issuers), listOf });
  server = await startCrlServer(
    0,
    "127.0.0.1",
    () => new Map(),
    (question) => ocsp.answer(question),
  );
  return issuers;
}

function file(text: string): string {
  const path = join(scene.directory(), "file.pem");
  writeFileSync(path, text);
  return path;
}

/** What OpenSSL makes of the answer about a certificate: it checks the signature, its signer, the times, and the nonce if it sent one. */
async function ask(ca: CertificateAuthority, chainPem: string, ...more: string[]): Promise<string> {
  const [leaf = "", issuing = ""] = chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
  const question = ["-issuer", file(issuing), "-cert", file(leaf), "-url", `http://127.0.0.1:${server?.port ?? 0}/pki/ocsp`];
  const anchors = ["-CAfile", join(ca.directory, "root.crt.pem"), "-verify_other", file(issuing)];
  const { stdout, stderr } = await run("openssl", ["ocsp", ...more, ...question, ...anchors]).catch((error: unknown) => error as never);
  return `${String(stderr)}${String(stdout)}`.replaceAll(/\S*file\.pem/g, "certificate");
}

describe("an OCSP responder", { timeout: 120_000 }, () => {
  it("answers good and revoked, with reason and time, for either hash and with the nonce it was sent", async () => {
    const ca = await scene.ca();
    const [good, bad] = [await provisionDevice(ca, "good"), await provisionDevice(ca, "bad")];
    await responder(ca);
    for (const hash of [[], ["-sha256"], ["-no_nonce"]]) {
      const answer = await ask(ca, good.chainPem, ...hash);
      expect(answer).toContain("Response verify OK");
      expect(answer).toContain("certificate: good");
      expect(answer).not.toContain("no nonce in response");
    }
    await ca.revoke({ id: "bad", reason: "keyCompromise" });
    const answer = await ask(ca, bad.chainPem);
    expect(answer).toContain("Response verify OK");
    expect(answer).toMatch(/certificate: revoked[\s\S]+Reason: keyCompromise\s+Revocation Time: \w{3}/);
    expect(await ask(ca, good.chainPem)).toContain("certificate: good");
  });

  it("answers for the issuing CA before as well, while that is trusted, and each with its own signer", async () => {
    const ca = await scene.ca();
    const old = await provisionDevice(ca, "old");
    await ca.rollOver();
    const young = await provisionDevice(ca, "young");
    const issuers = await responder(ca);
    expect(issuers).toHaveLength(2);
    for (const { chainPem } of [old, young]) expect(await ask(ca, chainPem)).toMatch(/Response verify OK[\s\S]*certificate: good/);
  });

  it("says that it may not answer for another CA, and that it cannot while its list has ended", async () => {
    const [ca, other] = [await scene.ca(), await scene.ca()];
    const [own, foreign] = [await provisionDevice(ca, "own"), await provisionDevice(other, "foreign")];
    let ended: RevocationList | undefined = listsOf(ca)[0];
    await responder(ca, () => ended);
    expect(await ask(ca, foreign.chainPem)).toContain("unauthorized");
    ended = Object.assign(Object.create(ended ?? null) as RevocationList, { nextUpdateMs: Date.now() - 1 });
    expect(await ask(ca, own.chainPem)).toContain("trylater");
    ended = undefined;
    expect(await ask(ca, own.chainPem)).toContain("trylater");
  });

  it("has certificates that are for nothing else: no client's, no broker's, and none of the registry", async () => {
    const ca = await scene.ca();
    const [{ signer, issuer } = { signer: undefined, issuer: undefined }] = await responder(ca);
    const [leaf, issuing] = [signer?.certificate, issuer].map((der) => file(toPem("CERTIFICATE", der ?? new Uint8Array())));
    const verify = ["verify", "-x509_strict", "-CAfile", join(ca.directory, "root.crt.pem"), "-untrusted", issuing ?? ""];
    for (const purpose of ["sslclient", "sslserver"])
      await expect(run("openssl", [...verify, "-purpose", purpose, leaf ?? ""])).rejects.toThrow(
        /unsuitable|unsupported certificate purpose/,
      );
    expect((await run("openssl", [...verify, "-purpose", "ocsphelper", leaf ?? ""])).stdout).toContain(": OK");
    expect(await (await openCa(ca.directory, PASSPHRASE)).list()).toEqual([]);
  });

  it("refuses malformed questions with an error, by POST and GET, and large ones with 413", async () => {
    const ca = await scene.ca();
    await responder(ca);
    const url = `http://127.0.0.1:${server?.port ?? 0}/ocsp`;
    const malformed = Buffer.from("30030a0101", "hex");
    for (const body of [new Uint8Array(), Uint8Array.of(0x30, 0x80), new Uint8Array(4096).fill(0x30)]) {
      const answer = await fetch(url, { method: "POST", body });
      expect(Buffer.from(await answer.arrayBuffer())).toEqual(malformed);
    }
    for (const path of ["", "/", "/%zz", "/AAAA"]) expect(Buffer.from(await (await fetch(url + path)).arrayBuffer())).toEqual(malformed);
    const large = await new Promise((resolve, reject) => {
      const post = request(url, { method: "POST" }, (response) => resolve(response.resume().statusCode));
      post.on("error", reject);
      post.end(Buffer.alloc(4097));
    });
    expect(large).toBe(413);
    expect((await fetch(url, { method: "DELETE" })).status).toBe(405);
  });

  it("answers a question in the path of a GET, which caches may keep for a minute", async () => {
    const ca = await scene.ca();
    const { chainPem } = await provisionDevice(ca, "one");
    await responder(ca);
    const [leaf = "", issuing = ""] = chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    const question = join(scene.directory(), "question.der");
    await run("openssl", ["ocsp", "-issuer", file(issuing), "-cert", file(leaf), "-no_nonce", "-reqout", question]);
    const path = encodeURIComponent(readFileSync(question).toString("base64"));
    const answer = await fetch(`http://127.0.0.1:${server?.port ?? 0}/ocsp/${path}`);
    expect([answer.headers.get("content-type"), answer.headers.get("cache-control")]).toEqual([
      "application/ocsp-response",
      "public, max-age=60",
    ]);
    expect(
      Buffer.from(await answer.arrayBuffer())
        .subarray(4, 7)
        .toString("hex"),
    ).toBe("0a0100");
  });
});
