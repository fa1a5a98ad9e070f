/** The client for EST against a server of the tests whose CA is OpenSSL: what it takes, what it refuses, and what it never sends. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import { createServer as createTcp, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toPem } from "../../../host-tools/pki/pem.js";
import { OpensslCa, send, TestEstServer, type EstAnswer, type EstOperation } from "../../../test/support/node/est-server.js";
import type { EnrolmentReply } from "../../../sdk/identity/enrolment-port.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { IdentityStore } from "../../../sdk/identity/store.js";
import { memoryKeyStore, memoryStorage } from "../memory-stores.js";
import type { EstServer } from "./est-client.js";
import { EstClient } from "./est-client.js";
import { estEnrolment, provisionByEst, type EstProvisioning } from "./est-enrolment.js";

const ID = "meter-7";
const room = mkdtempSync(join(tmpdir(), "hawser-est-"));
let ca: OpensslCa;
let server: TestEstServer;

beforeAll(async () => {
  ca = new OpensslCa(join(room, "ca"));
  ca.another("stranger", "stranger-issuing");
  server = await TestEstServer.start(ca);
});
afterAll(async () => {
  await server.stop();
  rmSync(room, { recursive: true, force: true });
});
beforeEach(() => {
  server.requests.length = 0;
  server.passwords.clear();
  server.passwords.set(ID, "once");
});
afterEach(() => {
  for (const operation of Object.keys(server.instead) as EstOperation[]) delete server.instead[operation];
  server.leaf = {};
  server.caCertificates = ["issuing", "root"];
});

const login = (): { username: string; password: string } => ({ username: ID, password: "once" });
const at = (): EstServer => ({ url: server.url, trustAnchors: [ca.der("root")] });

/** A device's stores, with its first identity from the server. */
async function provisioned(given: Partial<EstProvisioning> = {}): Promise<EstProvisioning["vault"]> {
  const vault = { keyStore: memoryKeyStore(), storage: memoryStorage() };
  await provisionByEst({ ...at(), login, id: ID, vault, ...given });
  return vault;
}

/** Renews as a device does. */
async function renewed(given: Partial<EstServer> = {}, prepare: () => void = () => undefined): Promise<EnrolmentReply> {
  const { keyStore, storage } = await provisioned();
  prepare();
  const store = IdentityStore.load(storage, keyStore);
  const enrolment = estEnrolment({ ...at(), keys: keyStore, ...given });
  return enrolment.request(keyStore.csr(store.beginEnrolment(), ID), store.active);
}

/** What `openssl verify` says of a chain, leaf first, from the root. */
function verified(chain: readonly Uint8Array[]): string {
  const [leaf, ...others] = chain.map((der) => toPem("CERTIFICATE", der));
  writeFileSync(join(room, "leaf.pem"), leaf ?? "");
  writeFileSync(join(room, "others.pem"), others.join(""));
  const parameters = ["verify", "-purpose", "sslclient", "-CAfile", join(ca.directory, "root.crt")];
  return execFileSync("openssl", [...parameters, "-untrusted", "others.pem", "leaf.pem"], { cwd: room, encoding: "utf8" });
}

describe("A device's first identity by EST", () => {
  it("is issued for its own key, after a one-time password, and installed with the root that the server names", async () => {
    const { keyStore, storage } = await provisioned();
    const { active, trustAnchors, device } = IdentityStore.load(storage, keyStore);
    expect(server.requests.map(({ operation, path }) => [operation, path])).toEqual([
      ["cacerts", "/.well-known/est/cacerts"],
      ["simpleenroll", "/.well-known/est/simpleenroll"],
    ]);
    // Nothing is said of the password where it is not needed.
    expect(server.requests.map(({ authorization, client }) => [authorization, client])).toEqual([
      [undefined, undefined],
      [`Basic ${Buffer.from(`${ID}:once`).toString("base64")}`, undefined],
    ]);
    expect(device).toMatchObject({ id: ID, role: "sensor" });
    expect(trustAnchors).toEqual([ca.der("root")]);
    expect(active?.chain[1]).toEqual(ca.der("issuing"));
    expect(verified(active?.chain ?? [])).toBe("leaf.pem: OK\n");
  });

  it("may judge brokers by other CAs, and have another role", async () => {
    const { keyStore, storage } = await provisioned({ brokerAnchors: [ca.der("stranger")], role: "gateway" });
    const store = IdentityStore.load(storage, keyStore);
    expect([store.trustAnchors, store.device.role]).toEqual([[ca.der("stranger")], "gateway"]);
  });

  it("of a label goes below it", async () => {
    await provisioned({ label: "meters" });
    expect(server.requests.map(({ path }) => path)).toEqual(["/.well-known/est/meters/cacerts", "/.well-known/est/meters/simpleenroll"]);
  });

  it("has the root in its chain where the root has issued it, so that a renewed one is known to be of the same CA", async () => {
    server.leaf = { issuer: "root" };
    const { keyStore, storage } = await provisioned();
    expect(IdentityStore.load(storage, keyStore).active?.chain[1]).toEqual(ca.der("root"));
  });

  it("is there once: a second try asks nobody", async () => {
    const vault = await provisioned();
    server.requests.length = 0;
    await expect(provisionByEst({ ...at(), login, id: ID, vault })).rejects.toMatchObject({ code: "ALREADY_PROVISIONED" });
    expect(server.requests).toEqual([]);
  });

  it("that has to be approved is asked for again with the same key", async () => {
    const vault = { keyStore: memoryKeyStore(), storage: memoryStorage() };
    server.instead.simpleenroll = (response) => void response.writeHead(202, { "retry-after": "120" }).end();
    const pending = provisionByEst({ ...at(), login, id: ID, vault });
    await expect(pending).rejects.toMatchObject({ code: "EST_PENDING", retryAfterSeconds: 120 });
    delete server.instead.simpleenroll;
    await provisionByEst({ ...at(), login, id: ID, vault });
    const [first, second] = server.requests.filter(({ operation }) => operation === "simpleenroll");
    const key = Buffer.from(vault.keyStore.publicKey("key-a"));
    expect([first?.csr.includes(key), second?.csr.includes(key)]).toEqual([true, true]);
  });

  it("uses no password up where brokers could not be judged afterwards", async () => {
    server.caCertificates = ["issuing"];
    await expect(provisioned()).rejects.toMatchObject({ code: "EST_ANSWER_INVALID" });
    expect(server.operations).toEqual(["cacerts"]);
    await provisioned({ brokerAnchors: [ca.der("root")] });
  });

  it.each([
    ["for another name", { subject: "/CN=meter-8" }, "WRONG_SUBJECT"],
    ["by a CA that the server does not name", { issuer: "stranger-issuing" }, "UNTRUSTED_CERTIFICATE"],
  ])("issued %s is not taken", async (_, leaf, code) => {
    server.leaf = leaf;
    const vault = { keyStore: memoryKeyStore(), storage: memoryStorage() };
    await expect(provisionByEst({ ...at(), login, id: ID, vault })).rejects.toMatchObject({ code });
    expect(vault.storage.list("")).toEqual([]);
  });
});

describe("A renewal by EST", () => {
  it("is asked for with the present certificate, and its chain is OpenSSL's", async () => {
    const reply = await renewed();
    expect(server.operations).toEqual(["cacerts", "simpleenroll", "cacerts", "simplereenroll"]);
    expect(server.requests.map(({ client, authorization }) => [client, authorization]).at(-1)).toEqual([ID, undefined]);
    const chain = "chain" in reply ? reply.chain : [];
    expect([chain.length, verified(chain)]).toEqual([2, "leaf.pem: OK\n"]);
  });

  it("picks its own certificate out of a message that has the CA's before it", async () => {
    server.instead.simplereenroll = async (response, { csr }) => send(response, await ca.certsOnly("root", "issuing", await ca.issue(csr)));
    const reply = await renewed();
    const chain = "chain" in reply ? reply.chain : [];
    expect(chain.map((der) => readCertificate(der).commonName)).toEqual([ID, "Works issuing"]);
  });

  it("with an expired certificate asks for a first one again, where there is a login", async () => {
    server.leaf = { lifetimeSeconds: -60 };
    const reply = await renewed({ login: () => ({ username: ID, password: "again" }) }, () => {
      server.passwords.set(ID, "again");
      server.leaf = {};
    });
    expect([server.operations.at(-1), "chain" in reply]).toEqual(["simpleenroll", true]);
  });

  it("that has to be approved says when to come back", async () => {
    const later = (value: string): Promise<EnrolmentReply> => {
      server.passwords.set(ID, "once");
      server.instead.simplereenroll = (response) => void response.writeHead(202, { "retry-after": value }).end();
      return renewed();
    };
    expect(await later("600")).toMatchObject({ error: { code: "EST_PENDING", retryAfterSeconds: 600 } });
    const date = new Date(Date.now() + 300_000).toUTCString();
    const dated = (await later(date)) as { error: { retryAfterSeconds: number } };
    expect(dated.error.retryAfterSeconds).toBeGreaterThan(290);
    expect(dated.error.retryAfterSeconds).toBeLessThanOrEqual(300);
    expect(await later("soon")).toEqual({ error: { code: "EST_PENDING", message: expect.any(String) as string } });
    expect(await later("999999999")).toMatchObject({ error: { retryAfterSeconds: 86_400 } });
  });

  it("that is refused for now says when to come back as well", async () => {
    server.instead.simplereenroll = (response) => {
      response.writeHead(503, { "retry-after": "30", "content-type": "text/plain" }).end("the CA\r\n is \u0007 away");
    };
    const message = "the EST server refuses the request (HTTP 503): the CA is away";
    expect(await renewed()).toEqual({ error: { code: "EST_REFUSED", message, retryAfterSeconds: 30 } });
  });

  it("never follows a redirect", async () => {
    server.instead.simplereenroll = (response) => void response.writeHead(302, { location: `${server.url}/elsewhere` }).end();
    expect(await renewed()).toMatchObject({ error: { code: "EST_REFUSED", message: expect.stringContaining("redirects") as string } });
    expect(server.operations.at(-1)).toBe("simplereenroll");
  });

  it.each<[string, EstAnswer, string, string]>([
    ["401", (response) => void response.writeHead(401).end(), "EST_LOGIN_REFUSED", "wants a user name"],
    ["text that is no message", (response) => send(response, Buffer.from("a proxy's page")), "EST_ANSWER_INVALID", "certs-only"],
    [
      "another type",
      (response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
      "EST_ANSWER_INVALID",
      "text/html",
    ],
    [
      "what is not base64",
      (response) => void response.writeHead(200, { "content-type": "application/pkcs7-mime" }).end("-----BEGIN PKCS7-----"),
      "EST_ANSWER_INVALID",
      "base64",
    ],
    ["more than 64 KiB", (response) => send(response, Buffer.alloc(100_000)), "EST_ANSWER_INVALID", "65536"],
    [
      "half an answer",
      (response) => void response.writeHead(200, { "content-length": "1000" }).end("AAAA", () => response.destroy()),
      "CONNECTION_RESET",
      "reset",
    ],
    ["a certificate for another key", async (response) => send(response, await ca.certsOnly("issuing")), "KEY_MISMATCH", "another key"],
  ])("answered with %s fails with the reason", async (_, answer, code, words) => {
    server.instead.simplereenroll = answer;
    await expect(renewed()).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words) as string,
      nextStep: expect.stringMatching(/\w/) as string,
    });
  });

  it("answered forever, a byte at a time, ends in time", async () => {
    const { keyStore } = await provisioned();
    let dripping: NodeJS.Timeout | undefined;
    server.instead.cacerts = (response) => {
      response.writeHead(200, { "content-type": "application/pkcs7-mime" });
      dripping = setInterval(() => response.write("A"), 20);
    };
    const beganMs = performance.now();
    await expect(new EstClient(at(), keyStore).caCertificates(beganMs + 300)).rejects.toMatchObject({ code: "EST_TIMEOUT" });
    clearInterval(dripping);
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  });
});

describe("The server", () => {
  const listening: Server[] = [];
  afterEach(() => {
    for (const one of listening.splice(0)) one.close();
  });

  /** Counts the requests that get through to it. */
  async function impostor(identity: { key: string; cert: string }): Promise<{ url: string; heard: string[] }> {
    const heard: string[] = [];
    const one = createHttps(identity, (request, response) => {
      heard.push(request.headers.authorization ?? "");
      response.end();
    }).listen(0, "127.0.0.1");
    await once(one, "listening");
    listening.push(one);
    return { url: `https://localhost:${(one.address() as AddressInfo).port}`, heard };
  }

  it.each<[string, () => Promise<{ key: string; cert: string }>, string]>([
    ["of another CA", () => ca.server("localhost", "stranger-issuing"), "SERVER_CA_UNKNOWN"],
    ["for another name", () => ca.server("est.example.com"), "SERVER_NAME_MISMATCH"],
  ])("%s hears neither password nor request", async (_, identity, code) => {
    const { url, heard } = await impostor(await identity());
    const vault = { keyStore: memoryKeyStore(), storage: memoryStorage() };
    const error = await provisionByEst({ ...at(), url, login, id: ID, vault }).catch((thrown: unknown) => thrown);
    expect([error, heard]).toMatchObject([{ code, nextStep: expect.stringContaining("trust anchors") as string }, []]);
  });

  it("that is a device of the same CA hears neither", async () => {
    const { keyStore, storage } = await provisioned();
    const { keySlot = "", chain = [] } = IdentityStore.load(storage, keyStore).active ?? {};
    const key = keyStore.signingKey(keySlot).export({ type: "pkcs8", format: "pem" }).toString();
    const { url, heard } = await impostor({ key, cert: chain.map((der) => toPem("CERTIFICATE", der)).join("") });
    const client = new EstClient({ ...at(), url, login }, keyStore);
    await expect(client.enrol(new Uint8Array(10), undefined, performance.now() + 5_000)).rejects.toMatchObject({
      code: "SERVER_CERTIFICATE_INVALID",
    });
    expect(heard).toEqual([]);
  });

  it("is not looked for in the environment's exceptions", async () => {
    const { url, heard } = await impostor(await ca.server("localhost", "stranger-issuing"));
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      await expect(provisioned({ url })).rejects.toMatchObject({ code: "SERVER_CA_UNKNOWN" });
    } finally {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    }
    expect(heard).toEqual([]);
  });

  it("that is away, or is none of TLS, is told by the code of a failed connection", async () => {
    const plain = createTcp((socket) =>
      socket
        .on("error", () => undefined)
        .resume()
        .end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    ).listen(0, "127.0.0.1");
    await once(plain, "listening");
    const { port } = plain.address() as AddressInfo;
    await expect(provisioned({ url: `https://localhost:${port}` })).rejects.toMatchObject({ code: "TLS_FAILED" });
    plain.close();
    await once(plain, "close");
    await expect(provisioned({ url: `https://localhost:${port}` })).rejects.toMatchObject({ code: "CONNECTION_REFUSED" });
  });
});

describe("What it is given", () => {
  const keys = memoryKeyStore();
  it.each<[string, Partial<EstServer>, string, string]>([
    ["plain HTTP", { url: "http://localhost" }, "BAD_URL", "http:// is not supported"],
    ["a path", { url: "https://localhost/.well-known/est/meters" }, "BAD_URL", "the path is always"],
    ["no URL", { url: "localhost:443" }, "BAD_URL", "not supported"],
    ["a password in the URL", { url: "https://meter:s3cret@localhost" }, "BAD_URL", "does not belong in a URL"],
    ["a label that leads elsewhere", { label: "../other" }, "BAD_OPTION", "does not fit"],
    ["no trust anchors", { trustAnchors: [] }, "BAD_OPTION", "trustAnchors is empty"],
  ])("%s is refused at once", (_, given, code, words) => {
    const made = (): unknown => estEnrolment({ ...at(), keys, ...given });
    expect(made).toThrow(expect.objectContaining({ code, message: expect.stringContaining(words) as string }) as Error);
    expect(made).not.toThrow(/s3cret/);
  });
});
