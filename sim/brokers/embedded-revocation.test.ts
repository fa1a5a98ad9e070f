import { once } from "node:events";
import { connect as connectTls, createSecureContext, type TLSSocket } from "node:tls";
import { queryObjects } from "node:v8";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestBroker, connectPacket } from "../../test/support/brokers/embedded-test-broker.js";
import { TestAuthority, type TestIdentity } from "../../test/support/brokers/test-certificates.js";
import type { BrokerMaterial, CredentialReason } from "./broker-events.js";
import { prepareMaterial } from "./tls-ports.js";

const HOUR_MS = 3_600_000;
const [ACCEPTED, REFUSED] = ["20020000", "20020005"];
const soon = new Date(Date.now() + HOUR_MS);
const past = new Date(Date.now() - HOUR_MS);

let test: TestBroker;
const sockets: TLSSocket[] = [];
beforeEach(async () => {
  test = await TestBroker.create();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await test.close();
});

/** Finishes the TLS handshake, and no more; the result sends CONNECT and gives the answer. */
async function handshake(identity: TestIdentity, options: object = {}): Promise<(clientId: string) => Promise<string>> {
  const socket = connectTls({ ...test.mtlsOptions(identity), ...options });
  sockets.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return async (clientId) => {
    socket.write(connectPacket(clientId));
    const [answer] = (await once(socket, "data")) as [Buffer];
    return answer.toString("hex");
  };
}

/** The material as a broker has it whose own certificate is of another PKI: it does not know the issuing CA of its clients. */
async function ofStranger(crlPem: string): Promise<BrokerMaterial> {
  const stranger = await TestAuthority.create("Stranger");
  const { chainPem, keyPem } = await stranger.issue("localhost", "server");
  return test.material({ chainPem, keyPem, crlPem });
}

const listsOf = (pem: string): string[] => pem.split(/(?<=-----END X509 CRL-----\n)/);

/** One bit of the signature is another. */
function damaged(pem: string): string {
  const [begin = "", ...rest] = pem.trimEnd().split("\n");
  const end = rest.pop() ?? "";
  const der = Buffer.from(rest.join(""), "base64");
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  return `${begin}\n${der.toString("base64")}\n${end}\n`;
}

describe("a broker whose revocation lists change while clients are connected", () => {
  it("has one TLS context for all of them, however many lists they came by", async () => {
    const identity = await test.authority.issue("dev1");
    const gone = await test.authority.issue("gone");
    const shared = createSecureContext(test.mtlsOptions(identity));
    const contexts = (): number => queryObjects((shared.context as object).constructor, { format: "count" });
    await test.start();
    await (
      await handshake(identity, { secureContext: shared })
    )("dev1");
    const before = contexts();
    for (let round = 0; round < 12; round += 1) {
      test.authority.revoke({ ...gone, serial: `5${round.toString(16)}` });
      test.broker.reload(await test.material());
      expect(await (await handshake(identity, { secureContext: shared }))(`dev1~${round}`)).toBe(ACCEPTED);
    }
    expect(test.broker.clientCount).toBe(13);
    expect(contexts() - before).toBe(0);
  });

  it("refuses a client that was revoked between its TLS handshake and its CONNECT", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const connect = await handshake(identity);
    test.authority.revoke(identity);
    test.broker.reload(await test.material());
    expect(await connect("dev1")).toBe(REFUSED);
    expect(await test.event("refused")).toMatchObject({ reason: "CERTIFICATE_REVOKED", serial: identity.serial });
  });

  it("takes on another root and another certificate of its own as before", async () => {
    await test.start();
    const other = await TestAuthority.create("Other");
    const { chainPem, keyPem } = await other.issue("localhost", "server");
    const own = { chainPem, keyPem, trustAnchorPem: other.trustAnchorPem, crlPem: await other.crlPem() };
    test.broker.reload(await test.material(own));
    const ca = other.trustAnchorPem;
    expect(await (await handshake(await other.issue("dev1"), { ca }))("dev1")).toBe(ACCEPTED);
    expect(await (await handshake(await test.authority.issue("dev2"), { ca }))("dev2")).toBe(REFUSED);
  });

  it("judges by the CAs above, too: an issuing CA that the root revoked, a root's list that has ended", async () => {
    await test.start();
    await test.signIn(await test.authority.issue("dev1"), "dev1");
    test.broker.reload(await test.material({ crlPem: await test.authority.crlPem(soon, past) }));
    expect(await test.event("disconnected", ({ name }) => name === "dev1")).toMatchObject({ reason: "CRL_EXPIRED" });
    test.broker.reload(await test.material());
    await test.signIn(await test.authority.issue("dev2"), "dev2");
    test.authority.revokeIssuing();
    test.broker.reload(await test.material());
    expect(await test.event("disconnected", ({ name }) => name === "dev2")).toMatchObject({ reason: "CERTIFICATE_REVOKED" });
  });
});

describe("a certificate that its broker must not let in", () => {
  const cases: [what: string, reason: CredentialReason, crl: (identity: TestIdentity) => Promise<string>][] = [
    [
      "was revoked",
      "CERTIFICATE_REVOKED",
      async (identity) => {
        test.authority.revoke(identity);
        return test.authority.crlPem();
      },
    ],
    [
      "was revoked, by a list that has ended",
      "CERTIFICATE_REVOKED",
      async (identity) => {
        test.authority.revoke(identity);
        return test.authority.crlPem(past);
      },
    ],
    [
      "is of an issuing CA that was revoked",
      "CERTIFICATE_REVOKED",
      async () => {
        test.authority.revokeIssuing();
        return test.authority.crlPem();
      },
    ],
    ["is of a CA whose list has ended", "CRL_EXPIRED", () => test.authority.crlPem(past)],
    ["is under a root whose list has ended", "CRL_EXPIRED", () => test.authority.crlPem(soon, past)],
    ["is under a root without a list", "CRL_MISSING", async () => listsOf(await test.authority.crlPem())[0] ?? ""],
    [
      "is of a CA whose list was damaged",
      "CERTIFICATE_REJECTED",
      async () => {
        const [issuing = "", root = ""] = listsOf(await test.authority.crlPem());
        return damaged(issuing) + root;
      },
    ],
    [
      "is of a CA whose list is signed by another of that name",
      "CERTIFICATE_REJECTED",
      async () => {
        const [, root = ""] = listsOf(await test.authority.crlPem());
        return (listsOf(await (await TestAuthority.create()).crlPem())[0] ?? "") + root;
      },
    ],
  ];
  it.each(cases)("because it %s is refused (%s), whether OpenSSL has the lists or not", async (_what, reason, crl) => {
    const identity = await test.authority.issue("dev1");
    const crlPem = await crl(identity);
    const [own, strange] = [await test.material({ crlPem }), await ofStranger(crlPem)];
    const isSigned = reason !== "CERTIFICATE_REJECTED";
    expect([own, strange].map((material) => prepareMaterial(material).revocation.judgeAlone)).toEqual([isSigned, false]);
    for (const material of [own, strange]) {
      await test.start({}, { material });
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const)
        expect(await (await handshake(identity, { maxVersion, rejectUnauthorized: false }))("dev1")).toBe(REFUSED);
      await test.broker.stop();
    }
    expect(test.events).toHaveLength(4);
    for (const event of test.events) expect(event).toMatchObject({ type: "refused", port: "mtls", reason, serial: identity.serial });
  });

  it("is refused whatever other certificates the client sends with it", async () => {
    const identity = await test.authority.issue("dev1");
    const forger = await TestAuthority.create("Test", { notBefore: past, notAfter: past });
    const [leaf = "", issuing = ""] = identity.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    test.authority.revokeIssuing();
    await test.start();
    const forged = { ...identity, chainPem: `${leaf}${forger.issuing.certificate.toString("pem")}\n${issuing}` };
    expect(await (await handshake(forged))("dev1")).toBe(REFUSED);
    expect(await test.event("refused")).toMatchObject({ reason: "CERTIFICATE_REVOKED" });
  });
});
