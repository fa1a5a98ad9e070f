import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { connect as connectTls } from "node:tls";
import type { IClientOptions } from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EmbeddedBroker } from "./embedded-broker.js";
import { TestBroker, connectPacket, nextMessage } from "../../test/support/brokers/embedded-test-broker.js";
import { TestAuthority, type TestIdentity } from "../../test/support/brokers/test-certificates.js";

let test: TestBroker;
beforeEach(async () => {
  test = await TestBroker.create();
});
afterEach(async () => {
  await test.close();
});

const HOUR_MS = 3_600_000;

describe("the mTLS port", () => {
  it("signs a client in under its certificate's common name and carries its messages", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const backend = await test.signIn(await test.authority.issue("backend"), "backend");
    await backend.subscribeAsync("devices/+/up/#", { qos: 1 });
    const device = await test.signIn(identity, "dev1");
    const arrived = nextMessage(backend);
    await device.publishAsync("devices/dev1/up/temperature", "21", { qos: 1 });
    expect(await arrived).toMatchObject({ topic: "devices/dev1/up/temperature", payload: "21", qos: 1 });
    const connected = await test.event("connected", ({ name }) => name === "dev1");
    expect(connected).toMatchObject({
      scope: "full",
      clientId: "dev1",
      port: "mtls",
      tlsVersion: "TLSv1.3",
      serial: identity.serial,
      resumed: false,
    });
    device.end();
    expect(await test.event("disconnected", ({ name }) => name === "dev1")).toMatchObject({ reason: "CLIENT_DISCONNECTED" });
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("speaks %s", async (version) => {
    await test.start();
    await test.signIn(await test.authority.issue("dev1"), "dev1", { minVersion: version, maxVersion: version } as IClientOptions);
    expect(await test.event("connected")).toMatchObject({ tlsVersion: version });
  });

  it("speaks nothing older than TLS 1.2", async () => {
    await test.start();
    const old = {
      ...test.mtlsOptions(await test.authority.issue("dev1")),
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    } as const;
    expect(await test.exchange(old, connectPacket("dev1"))).toMatchObject({ received: "", secured: false });
    expect(await test.event("refused")).toMatchObject({ reason: "TLS_FAILED" });
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("closes without a word on a client without certificate (%s)", async (maxVersion) => {
    await test.start();
    const { received } = await test.exchange({ ...test.mtlsOptions(), maxVersion }, connectPacket("dev1"));
    expect(received).toBe("");
    expect(await test.event("refused")).toMatchObject({ port: "mtls", reason: "NO_CERTIFICATE" });
  });

  const past = { notBefore: new Date(Date.now() - 3 * HOUR_MS), notAfter: new Date(Date.now() - HOUR_MS) };
  const future = { notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) };
  const refusals: [string, string, () => Promise<TestIdentity>][] = [
    ["an expired certificate", "CERTIFICATE_EXPIRED", () => test.authority.issue("dev1", "client", past)],
    ["a certificate that is not valid yet", "CERTIFICATE_NOT_YET_VALID", () => test.authority.issue("dev1", "client", future)],
    ["a certificate of a foreign CA", "CERTIFICATE_CA_UNKNOWN", async () => (await TestAuthority.create("Foreign")).issue("dev1")],
    ["a certificate of another CA of the same names", "CERTIFICATE_REJECTED", async () => (await TestAuthority.create()).issue("dev1")],
    ["a server's certificate", "CERTIFICATE_REJECTED", () => test.authority.issue("dev1", "server")],
    ["a certificate whose name would widen topics", "NAME_INVALID", () => test.authority.issue("dev1/x")],
  ];
  it.each(refusals)("answers CONNACK 5 to %s", async (_what, reason, issue) => {
    await test.start();
    const identity = await issue();
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const { received } = await test.exchange({ ...test.mtlsOptions(identity), maxVersion }, connectPacket("dev1"));
      expect(received).toBe("20020005");
    }
    expect(test.events).toHaveLength(2);
    expect(await test.event("refused")).toMatchObject({ port: "mtls", reason, serial: identity.serial });
  });

  it("answers CONNACK 5 to a revoked certificate, and to everybody once the CRL has expired", async () => {
    const bad = await test.authority.issue("dev1");
    const good = await test.authority.issue("dev2");
    test.authority.revoke(bad);
    await test.start();
    await expect(test.signIn(bad, "dev1")).rejects.toMatchObject({ code: 5 });
    expect(await test.event("refused")).toMatchObject({ reason: "CERTIFICATE_REVOKED", name: "dev1" });
    await test.signIn(good, "dev2");
    test.broker.reload(await test.material({ crlPem: await test.authority.crlPem(new Date(Date.now() - HOUR_MS)) }));
    expect(await test.event("disconnected", ({ name }) => name === "dev2")).toMatchObject({ reason: "CRL_EXPIRED" });
    await expect(test.signIn(good, "dev2")).rejects.toMatchObject({ code: 5 });
    expect(await test.event("refused", ({ name }) => name === "dev2")).toMatchObject({ reason: "CRL_EXPIRED" });
  });

  it("answers CONNACK 5 when the CRL of the issuing CA is missing", async () => {
    const rootCrlOnly = (await test.authority.crlPem()).split("-----END X509 CRL-----\n")[1] + "-----END X509 CRL-----\n";
    await test.start({}, { material: await test.material({ crlPem: rootCrlOnly }) });
    const { received } = await test.exchange(test.mtlsOptions(await test.authority.issue("dev1")), connectPacket("dev1"));
    expect(received).toBe("20020005");
    expect(await test.event("refused")).toMatchObject({ reason: "CRL_MISSING" });
  });

  it("gets its refusal through to a client that has sent much behind its CONNECT", async () => {
    const bad = await test.authority.issue("dev1");
    test.authority.revoke(bad);
    await test.start();
    for (let repetition = 0; repetition < 10; repetition += 1) {
      const { received } = await test.exchange(test.mtlsOptions(bad), Buffer.concat([connectPacket("dev1"), Buffer.alloc(1_000_000)]));
      expect(received).toBe("20020005");
    }
  });

  it("tells a 5.0 client that its credential is refused in words of 5.0", async () => {
    const bad = await test.authority.issue("dev1");
    test.authority.revoke(bad);
    await test.start();
    expect(await test.exchange(test.mtlsOptions(bad), connectPacket("dev1", 5))).toMatchObject({ received: "2003008700" });
  });

  it.each([3, 5, 6])("answers protocol level %i with the four bytes of an unacceptable protocol version, and closes", async (level) => {
    await test.start();
    const { received } = await test.exchange(test.mtlsOptions(await test.authority.issue("dev1")), connectPacket("dev1", level));
    expect(received).toBe("20020001");
    expect(await test.event("refused")).toMatchObject({ reason: "UNSUPPORTED_PROTOCOL_VERSION" });
  });

  /** Signs in raw, with a ticket where there is one; gives the CONNACK and, on a full handshake, a ticket for the next time. */
  const signInRaw = async (identity: TestIdentity, session?: Buffer): Promise<{ ticket: Buffer; isReused: boolean; received: string }> => {
    const socket = connectTls({ ...test.mtlsOptions(identity), ...(session === undefined ? {} : { session }) });
    socket.on("error", () => undefined);
    const ticket = once(socket, "session") as Promise<[Buffer]>;
    const reply = once(socket, "data") as Promise<[Buffer]>;
    await once(socket, "secureConnect");
    socket.write(connectPacket("dev1"));
    const received = (await reply)[0].toString("hex");
    const isReused = socket.isSessionReused();
    const bytes = isReused ? Buffer.alloc(0) : (await ticket)[0];
    socket.destroy();
    return { ticket: bytes, isReused, received };
  };

  it("resumes good sessions, but not those from before a reload", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const { ticket } = await signInRaw(identity);
    expect(await signInRaw(identity, ticket)).toMatchObject({ isReused: true, received: "20020000" });
    await test.event("connected", ({ resumed }) => resumed);
    test.authority.revoke(identity);
    test.broker.reload(await test.material());
    expect(await signInRaw(identity, ticket)).toMatchObject({ isReused: false, received: "20020005" });
  });

  it("refuses again who comes back with the ticket of a refused session", async () => {
    await test.start();
    const foreign = await (await TestAuthority.create("Foreign")).issue("dev1");
    const { ticket } = await signInRaw(foreign);
    expect(await signInRaw(foreign, ticket)).toMatchObject({ isReused: true, received: "20020005" });
  });

  it("keeps good sessions over a reload and cuts those whose certificate or name is gone", async () => {
    await test.start();
    const [good, revoked, barred] = [
      await test.authority.issue("good"),
      await test.authority.issue("revoked"),
      await test.authority.issue("barred"),
    ];
    const client = await test.signIn(good, "good");
    await test.signIn(revoked, "revoked");
    await test.signIn(barred, "barred");
    test.authority.revoke(revoked);
    test.barred.add("barred");
    test.broker.reload(await test.material());
    expect(await test.event("disconnected", ({ name }) => name === "revoked")).toMatchObject({ reason: "CERTIFICATE_REVOKED" });
    expect(await test.event("disconnected", ({ name }) => name === "barred")).toMatchObject({ reason: "NOT_ALLOWED" });
    await client.publishAsync("devices/good/up/x", "still here", { qos: 1 });
    expect(test.events.some((event) => event.type === "disconnected" && event.name === "good")).toBe(false);
    await expect(test.signIn(barred, "barred")).rejects.toMatchObject({ code: 5 });
  });

  it("serves a new certificate of its own after a reload", async () => {
    await test.start();
    const renewed = await test.authority.issue("localhost", "server");
    test.broker.reload(await test.material({ chainPem: renewed.chainPem, keyPem: renewed.keyPem }));
    const socket = connectTls(test.mtlsOptions(await test.authority.issue("dev1")));
    await once(socket, "secureConnect");
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    expect(serialNumber.toLowerCase().replace(/^0+/, "")).toBe(renewed.serial);
  });

  it("keeps the old material when the new is unusable", async () => {
    await test.start();
    const other = await test.authority.issue("localhost", "server");
    const mismatched = await test.material({ keyPem: other.keyPem });
    expect(() => test.broker.reload(mismatched)).toThrow(expect.objectContaining({ code: "BROKER_MATERIAL_INVALID" }));
    const withoutCrl = await test.material({ crlPem: "" });
    expect(() => test.broker.reload(withoutCrl)).toThrow(expect.objectContaining({ code: "BROKER_MATERIAL_INVALID" }));
    await test.signIn(await test.authority.issue("dev1"), "dev1");
  });
});

describe("the PSK port", () => {
  const key = randomBytes(32);
  const psks = (): void => {
    test.psks.set("dev1", key);
    test.psks.set("dev2", randomBytes(32));
  };

  it.each(["TLSv1.2", "TLSv1.3"] as const)("signs a known identity in with the recovery scope (%s)", async (version) => {
    psks();
    await test.start();
    await test.signInByPsk("dev1", key, "dev1~recovery", { minVersion: version, maxVersion: version });
    expect(await test.event("connected")).toEqual({
      type: "connected",
      name: "dev1",
      scope: "recovery",
      clientId: "dev1~recovery",
      port: "psk",
      tlsVersion: version,
      cipher: version === "TLSv1.3" ? "TLS_AES_128_GCM_SHA256" : "ECDHE-PSK-CHACHA20-POLY1305",
      resumed: false,
    });
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("refuses an unknown identity and a wrong key in the handshake (%s)", async (version) => {
    psks();
    await test.start();
    const tls = { minVersion: version, maxVersion: version } as const;
    const unknown = await test.exchange({ ...test.pskOptions("nobody", key), ...tls }, connectPacket("nobody"));
    expect(unknown.error).toMatch(version === "TLSv1.3" ? /ALERT_HANDSHAKE_FAILURE/ : /UNKNOWN_PSK_IDENTITY/);
    expect(await test.event("refused")).toMatchObject({ port: "psk", reason: "PSK_IDENTITY_UNKNOWN", detail: "nobody" });
    const wrong = await test.exchange({ ...test.pskOptions("dev1", randomBytes(32)), ...tls }, connectPacket("dev1"));
    expect(wrong.error).toMatch(version === "TLSv1.3" ? /ILLEGAL_PARAMETER|DECRYPT_ERROR/ : /BAD_RECORD_MAC/);
    expect(await test.event("refused", ({ reason }) => reason === "PSK_KEY_WRONG")).toMatchObject({ port: "psk", detail: "dev1" });
    expect(test.events).toHaveLength(2);
  });

  it("gives the identity topics and nothing else", async () => {
    psks();
    await test.start();
    const device = await test.signInByPsk("dev1", key, "dev1~recovery");
    const backend = await test.signIn(await test.authority.issue("backend"), "backend");
    await backend.subscribeAsync("devices/#", { qos: 1 });
    const granted = await device
      .subscribeAsync(["devices/dev1/identity/response", "devices/dev1/down/#", "#"], { qos: 1 })
      .catch((error: Error) => error);
    expect(granted).toBeInstanceOf(Error);
    const arrived = nextMessage(backend);
    await device.publishAsync("devices/dev1/up/temperature", "21", { qos: 1 });
    await device.publishAsync("devices/dev1/identity/request", "csr", { qos: 1 });
    expect(await arrived).toMatchObject({ topic: "devices/dev1/identity/request" });
    const denied = test.events.filter((event) => event.type === "denied");
    expect(denied).toMatchObject([
      { action: "subscribe", topic: "devices/dev1/down/#", scope: "recovery" },
      { action: "subscribe", topic: "#" },
      { action: "publish", topic: "devices/dev1/up/temperature" },
    ]);
    const answered = nextMessage(device);
    await backend.publishAsync("devices/dev1/down/command", "no", { qos: 1 });
    await backend.publishAsync("devices/dev1/identity/response", "chain", { qos: 1 });
    expect(await answered).toMatchObject({ topic: "devices/dev1/identity/response" });
  });

  it("never delivers what the recovery scope may not read, even on a subscription that was granted", async () => {
    psks();
    const material = await test.material();
    const careless = {
      ...material,
      authorize: (...[who, action, topic]: Parameters<typeof material.authorize>) =>
        topic === "devices/#" || material.authorize(who, action, topic),
    };
    await test.start({}, { material: careless });
    const device = await test.signInByPsk("dev1", key, "dev1~recovery");
    const backend = await test.signIn(await test.authority.issue("backend"), "backend");
    await device.subscribeAsync("devices/#", { qos: 1 });
    const arrived = nextMessage(device);
    await backend.publishAsync("devices/dev1/down/command", "no", { qos: 1 });
    await backend.publishAsync("devices/dev2/up/temperature", "no", { qos: 0 });
    await backend.publishAsync("devices/dev1/identity/response", "chain", { qos: 1 });
    expect(await arrived).toMatchObject({ topic: "devices/dev1/identity/response" });
  });

  it("cuts a client whose key was withdrawn or changed, at the next reload", async () => {
    psks();
    await test.start();
    await test.signInByPsk("dev1", key, "dev1~recovery");
    test.psks.set("dev1", randomBytes(32));
    test.broker.reload(await test.material());
    expect(await test.event("disconnected")).toMatchObject({ name: "dev1", reason: "PSK_WITHDRAWN" });
    await expect(test.signInByPsk("dev1", key, "dev1~recovery")).rejects.toThrow();
  });

  it("does not resume sessions", async () => {
    psks();
    await test.start();
    const options = { ...test.pskOptions("dev1", key), minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
    const first = connectTls(options);
    await once(first, "secureConnect");
    const session = first.getSession();
    first.destroy();
    const second = connectTls({ ...options, ...(session === undefined ? {} : { session }) });
    await once(second, "secureConnect");
    const isReused = second.isSessionReused();
    second.write(connectPacket("dev1"));
    const [connack] = (await once(second, "data")) as [Buffer];
    second.destroy();
    expect(isReused).toBe(false);
    expect(connack.toString("hex")).toBe("20020000");
    expect(await test.event("connected")).toMatchObject({ name: "dev1" });
  });

  it("has no use for a certificate", async () => {
    await test.start();
    const options = { ...test.mtlsOptions(await test.authority.issue("dev1")), port: test.pskPort };
    expect(await test.exchange(options, connectPacket("dev1"))).toMatchObject({ secured: false, received: "" });
  });
});

describe("who may use which client identifier", () => {
  it.each(["dev2", "dev1-2", "dev"])("refuses %j to dev1 with CONNACK 2", async (clientId) => {
    await test.start();
    const { received } = await test.exchange(test.mtlsOptions(await test.authority.issue("dev1")), connectPacket(clientId));
    expect(received).toBe("20020002");
    expect(await test.event("refused")).toMatchObject({ reason: "CLIENT_ID_REJECTED", name: "dev1" });
  });

  it("gives a client an identifier of its own that leaves it to the broker, if it wants no session", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const clients = await Promise.all([test.signIn(identity, ""), test.signIn(identity, "")]);
    expect(test.broker.clientCount).toBe(2);
    expect((await test.event("connected")).clientId).toMatch(/^dev1~[0-9a-f-]{36}$/);
    const arrived = nextMessage(clients[0]);
    await clients[0].subscribeAsync("devices/dev1/down/x");
    await clients[1].publishAsync("devices/dev1/down/x", "hello", { qos: 1 });
    expect(await arrived).toMatchObject({ payload: "hello" });
    const withSession = Uint8Array.from(connectPacket(""));
    withSession[9] = 0;
    expect(await test.exchange(test.mtlsOptions(identity), withSession)).toMatchObject({ received: "20020002" });
  });

  it("asks the material where that has a rule", async () => {
    await test.start({}, { material: await test.material({ clientIdAllowed: (_name, clientId) => clientId === "anything" }) });
    const identity = await test.authority.issue("dev1");
    await test.signIn(identity, "anything");
    await expect(test.signIn(identity, "dev1")).rejects.toMatchObject({ code: 2 });
  });

  it("lets the newer of two with the same identifier stay", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    await test.signIn(identity, "dev1");
    const second = await test.signIn(identity, "dev1");
    expect(await test.event("disconnected")).toMatchObject({ reason: "SESSION_TAKEN_OVER" });
    await second.publishAsync("devices/dev1/up/x", "here", { qos: 1 });
    expect(test.broker.clientCount).toBe(1);
  });

  it("forgets clients that vanish in the middle of their sign-in", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const session = Uint8Array.from(connectPacket("dev1"));
    session[9] = 0;
    const subscriber = await test.signIn(identity, "dev1", { clean: false });
    await subscriber.subscribeAsync("devices/dev1/#");
    for (let repetition = 0; repetition < 30; repetition += 1) {
      const socket = connectTls(test.mtlsOptions(identity));
      socket.on("error", () => undefined);
      await once(socket, "secureConnect");
      await new Promise<void>((resolve) => socket.write(session, () => resolve()));
      // Now in this turn of the sign-in, now in that.
      for (let turn = 0; turn < repetition % 6; turn += 1) await new Promise(setImmediate);
      socket.destroy();
    }
    await expect.poll(() => test.broker.clientCount).toBe(0);
    await test.signIn(identity, "dev1", { clean: false });
    expect(test.broker.clientCount).toBe(1);
  });

  it("survives many takeovers at once with one client left", async () => {
    await test.start();
    const identity = await test.authority.issue("dev1");
    const attempts = await Promise.allSettled(Array.from({ length: 12 }, () => test.signIn(identity, "dev1", { clean: false })));
    expect(attempts.some(({ status }) => status === "fulfilled")).toBe(true);
    const last = await test.signIn(identity, "dev1", { clean: false });
    await last.publishAsync("devices/dev1/up/x", "here", { qos: 2 });
    expect(test.broker.clientCount).toBe(1);
  });
});

describe("the ports", () => {
  it("names the port that is in use, and frees what it had taken", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    const broker = new EmbeddedBroker({ material: await test.material(), host: "127.0.0.1", mtlsPort: 0, pskPort: port });
    await expect(broker.start()).rejects.toMatchObject({ code: "PORT_IN_USE", message: expect.stringContaining(`127.0.0.1 port ${port}`) });
    holder.close();
  });

  it("listens on IPv4 and IPv6 loopback with one number unless told otherwise", async () => {
    const broker = new EmbeddedBroker({ material: await test.material(), mtlsPort: 0, pskPort: 0 });
    const { mtlsPort } = await broker.start();
    const hosts: string[] = [];
    for (const host of ["127.0.0.1", "::1"]) {
      const socket = connectTls({ ...test.mtlsOptions(await test.authority.issue("dev1")), host, port: mtlsPort, servername: "localhost" });
      await once(socket, "secureConnect");
      hosts.push(socket.remoteAddress ?? "");
      socket.destroy();
    }
    await broker.stop();
    expect(hosts).toEqual(["127.0.0.1", "::1"]);
  });

  it("does not listen on other addresses", async () => {
    await test.start();
    const socket = connectTls({ ...test.mtlsOptions(), host: "127.0.0.2" });
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
  });
});
