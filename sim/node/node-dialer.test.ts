/** The dialer against servers made to misbehave, on loopback. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, LookupFunction, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import type { TLSSocket, TlsOptions } from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Failure } from "../../sdk/failure.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { NodeDialer } from "./node-dialer.js";
import type { MemoryKeyStore } from "./memory-stores.js";
import { memoryKeyStore } from "./memory-stores.js";
import { buildProgram, RunningProgram } from "../../test/support/node/child-program.js";
import { RecordedLink } from "../../test/support/node/link-recorder.js";
import { alertRecord, SERVER_KEY_EXCHANGE, startImpostor } from "../../test/native/server-strangers.js";
import { freePort } from "../../test/support/node/test-mosquitto.js";
import { EXPIRED, NOT_YET_VALID, TestCa } from "../../test/support/node/test-pki.js";

const PLAIN: Credential = { kind: "none" };
const cleanups: (() => unknown)[] = [];
let ca: TestCa;
let stranger: TestCa;
let keys: MemoryKeyStore;
let chain: Uint8Array[];
let dialer: NodeDialer;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  stranger = await TestCa.create("Stranger");
  keys = memoryKeyStore();
  keys.generate("key-a");
  keys.importPsk("psk", Buffer.alloc(32, 9));
  chain = await ca.clientChain(keys.publicKey("key-a"), "dev1");
});

beforeEach(() => {
  dialer = new NodeDialer(keys);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function mtls(change: Partial<Extract<Credential, { kind: "mtls" }>> = {}): Credential {
  return { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors, ...change };
}

async function listening(server: Server): Promise<Endpoint> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

/** A server of the folder `testing` in a process of its own; its first line is its port. */
async function program(name: string): Promise<RunningProgram> {
  const room = mkdtempSync(join(tmpdir(), "hawser-server-"));
  const server = new RunningProgram(buildProgram(room, name), []);
  cleanups.push(
    () => rmSync(room, { recursive: true }),
    () => server.kill(),
  );
  await server.printed(1);
  return server;
}

function tcpServer(onConnection: (socket: Socket) => void): Promise<Endpoint> {
  return listening(createServer({ allowHalfOpen: true }, onConnection));
}

async function tlsServer(options: TlsOptions, onConnection: (socket: TLSSocket) => void = () => undefined): Promise<Endpoint> {
  const { chainPem, keyPem } = await ca.server(["localhost", "127.0.0.1"]);
  const server = createTlsServer({ cert: chainPem, key: keyPem, ca: ca.caPem, requestCert: true, ...options }, (socket) => {
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  server.on("tlsClientError", () => undefined);
  return listening(server);
}

function endOf(endpoint: Endpoint, credential: Credential, timeoutMs?: number): Promise<Failure> {
  return new RecordedLink(dialer, endpoint, credential, timeoutMs === undefined ? {} : { timeoutMs }).ended;
}

const echo = (socket: Socket): void => void socket.on("data", (bytes) => socket.write(bytes)).on("end", () => socket.end());

describe("a link", () => {
  it.each(["plain", "TLS"])("carries bytes both ways and ends once, after its owner closed it: %s", async (kind) => {
    const endpoint = kind === "plain" ? await tcpServer(echo) : await tlsServer({}, echo);
    const recorded = new RecordedLink(dialer, endpoint, kind === "plain" ? PLAIN : mtls());
    expect((await recorded.opened).tlsVersion).toBe(kind === "plain" ? "none" : "TLSv1.3");
    recorded.link.write(Buffer.from("one"));
    recorded.link.write(Buffer.from("two"));
    expect((await recorded.bytes(6)).toString()).toBe("onetwo");
    recorded.link.close();
    recorded.link.close();
    expect(recorded.link.write(Buffer.from("late"))).toBe(false);
    expect(await recorded.ended).toMatchObject({ code: "CLOSED_LOCALLY", class: "local" });
    expect(recorded.events.filter((event) => event === "ended")).toHaveLength(1);
  });

  it.each(["plain", "TLS"])("sends all that is queued before it closes: %s", async (kind) => {
    let received = 0;
    let tellAll: (size: number) => void = () => undefined;
    const all = new Promise<number>((resolve) => (tellAll = resolve));
    const count = (socket: Socket): void => {
      socket.on("data", (bytes) => (received += bytes.length));
      socket.on("end", () => {
        tellAll(received);
        socket.end();
      });
    };
    const endpoint = kind === "plain" ? await tcpServer(count) : await tlsServer({}, count);
    const recorded = new RecordedLink(dialer, endpoint, kind === "plain" ? PLAIN : mtls());
    await recorded.opened;
    recorded.link.write(Buffer.alloc(4_000_000, 1));
    recorded.link.close();
    expect(await all).toBe(4_000_000);
    expect((await recorded.ended).code).toBe("CLOSED_LOCALLY");
  });

  it("says when it is full and when there is room again, and loses nothing", async () => {
    let released: Socket | undefined;
    const endpoint = await tcpServer((socket) => {
      released = socket.pause();
    });
    const recorded = new RecordedLink(dialer, endpoint, PLAIN);
    await recorded.opened;
    const drained = recorded.drained();
    const block = Buffer.alloc(256 * 1024, 2);
    let written = 0;
    while (written < 200 * block.length) {
      written += block.length;
      if (!recorded.link.write(block)) break;
    }
    for (let more = 0; more < 40; more += 1) recorded.link.write(block);
    written += 40 * block.length;
    let received = 0;
    released!.on("data", (bytes) => (received += bytes.length)).on("end", () => released?.end());
    released!.resume();
    await drained;
    recorded.link.close();
    await recorded.ended;
    expect(received).toBe(written);
  });

  it("keeps the bytes of several links apart", async () => {
    const endpoint = await tlsServer({}, echo);
    const links = [1, 2, 3, 4].map(() => new RecordedLink(dialer, endpoint, mtls()));
    await Promise.all(links.map(({ opened }) => opened));
    for (let round = 0; round < 8; round += 1) links.forEach(({ link }, index) => link.write(Buffer.alloc(40_000, index + 1)));
    for (const [index, recorded] of links.entries()) {
      const bytes = await recorded.bytes(320_000);
      expect([bytes.length, new Set(bytes)]).toEqual([320_000, new Set([index + 1])]);
      recorded.link.close();
      await recorded.ended;
    }
  });

  it("delivers what the broker said last, when a write fails before it was read", async () => {
    const rude = await program("rude-server");
    const recorded = new RecordedLink(dialer, { host: "127.0.0.1", port: Number(rude.lines[0]) }, PLAIN, {
      onOpened: (link) => {
        // Blocks the event loop while the server says its last words and leaves, so that a write meets the reset before they are read.
        for (let write = 0; write < 4; write += 1) {
          link.write(Buffer.from("hello"));
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
        }
      },
    });
    expect(await recorded.ended).toMatchObject({ code: "CONNECTION_RESET", class: "network" });
    expect(Buffer.concat(recorded.received).toString()).toBe("goodbye");
  });

  it("can be closed before it is up, and in the moment it comes up", async () => {
    const endpoint = await tlsServer({});
    const early = new RecordedLink(dialer, endpoint, mtls());
    early.link.close();
    expect((await early.ended).code).toBe("CLOSED_LOCALLY");
    expect(early.events).toEqual(["ended"]);
    const inOpened = new RecordedLink(dialer, endpoint, mtls(), { onOpened: (link) => link.close() });
    expect((await inOpened.ended).code).toBe("CLOSED_LOCALLY");
    expect(inOpened.events).toEqual(["opened", "ended"]);
  });

  it("ends as closed when the broker leaves, and as reset when it is cut", async () => {
    expect(await endOf(await tcpServer((socket) => socket.end()), PLAIN)).toMatchObject({ code: "CONNECTION_CLOSED", class: "network" });
    expect(await endOf(await tcpServer((socket) => socket.resetAndDestroy()), PLAIN)).toMatchObject({
      code: "CONNECTION_RESET",
      class: "network",
    });
    expect(await endOf(await tlsServer({}, (socket) => socket.end()), mtls())).toMatchObject({ code: "CONNECTION_CLOSED" });
  });

  it("does not wait for ever for a broker that does not close its side", async () => {
    const recorded = new RecordedLink(dialer, await tcpServer((socket) => socket.resume()), PLAIN);
    await recorded.opened;
    recorded.link.close();
    expect((await recorded.ended).code).toBe("CLOSED_LOCALLY");
  });
});

describe("a dial that cannot reach anyone", () => {
  it("reports a refused port, by address and by a name with several addresses", async () => {
    const port = await freePort();
    for (const host of ["127.0.0.1", "localhost"]) {
      expect(await endOf({ host, port }, PLAIN)).toMatchObject({ code: "CONNECTION_REFUSED", class: "network" });
      expect(await endOf({ host, port }, mtls())).toMatchObject({ code: "CONNECTION_REFUSED", class: "network" });
    }
  });

  it("goes on to a name's next address, over plain TCP and TLS", async () => {
    // Nothing listens on 127.0.0.2.
    const lookup = ((_host: string, _options: unknown, done: (error: null, found: { address: string; family: number }[]) => void) =>
      setImmediate(done, null, [
        { address: "127.0.0.2", family: 4 },
        { address: "127.0.0.1", family: 4 },
      ])) as unknown as LookupFunction;
    dialer = new NodeDialer(keys, { lookup });
    const endpoints: [Endpoint, Credential][] = [
      [await tcpServer(echo), PLAIN],
      [await tlsServer({}, echo), mtls()],
    ];
    for (const [endpoint, credential] of endpoints) {
      const recorded = new RecordedLink(dialer, { host: "localhost", port: endpoint.port }, credential);
      await recorded.opened;
      recorded.link.write(Buffer.from("hello"));
      expect((await recorded.bytes(5)).toString()).toBe("hello");
      recorded.link.close();
      await recorded.ended;
    }
  });

  it.each(["closes", "is no TLS", "has a stranger's certificate", "says something and closes"])(
    "begins with another address of a name after one that takes TCP and then %s",
    async (ill) => {
      const addresses = [
        { address: "127.0.0.1", family: 4 },
        { address: "127.0.0.2", family: 4 },
      ];
      // One that answers at once, too.
      const both = ((_host: string, _options: unknown, done: (error: null, found: object[]) => void) =>
        ill === "closes" ? done(null, addresses) : setImmediate(done, null, addresses)) as unknown as LookupFunction;
      dialer = new NodeDialer(keys, { lookup: both });
      const right = await ca.server(["localhost"]);
      const wrong = await stranger.server(["localhost"]);
      const greet = (socket: Socket): void =>
        void socket.on("data", () => setTimeout(() => socket.write("again"), 20).unref() && socket.write("hello"));
      const sick =
        ill === "closes"
          ? createServer((socket) => socket.destroy())
          : ill === "is no TLS"
            ? createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
            : ill === "says something and closes"
              ? createTlsServer({ cert: right.chainPem, key: right.keyPem }, (socket) => socket.on("error", () => undefined).end("no"))
              : createTlsServer({ cert: wrong.chainPem, key: wrong.keyPem });
      const { port } = await listening(sick.on("tlsClientError", () => undefined));
      const well = createTlsServer({ cert: right.chainPem, key: right.keyPem }, (socket) => greet(socket.on("error", () => undefined)));
      well.listen(port, "127.0.0.2");
      await once(well, "listening");
      cleanups.push(() => well.close());
      const first = new RecordedLink(dialer, { host: "localhost", port }, mtls());
      await first.ended;
      for (let turn = 0; turn < 2; turn += 1) {
        const next = new RecordedLink(dialer, { host: "localhost", port }, mtls(), { onOpened: (link) => link.write(Buffer.from("x")) });
        expect((await next.bytes(10)).toString()).toBe("helloagain");
        next.link.close();
        await next.ended;
      }
    },
  );

  it("reports a name without address", async () => {
    const lookup = ((_host: string, _options: unknown, done: (error: Error) => void) =>
      setImmediate(
        done,
        Object.assign(new Error("getaddrinfo ENOTFOUND broker.example"), { code: "ENOTFOUND", syscall: "getaddrinfo" }),
      )) as unknown as LookupFunction;
    dialer = new NodeDialer(keys, { lookup });
    expect(await endOf({ host: "broker.example", port: 8883 }, mtls())).toMatchObject({ code: "DNS_FAILED", class: "network" });
  });

  it("reports a port that is none", async () => {
    for (const port of [-1, 65_536, 1.5]) expect((await endOf({ host: "127.0.0.1", port }, PLAIN)).code).toBe("HOST_UNREACHABLE");
  });

  it("gives up in time on a black hole, on a silent TLS server, on a resolver that does not answer", async () => {
    const deaf = await program("deaf-server");
    const port = Number(deaf.lines[0]);
    for (let waiting = 0; waiting < 2; waiting += 1) {
      const filler = connect(port, "127.0.0.1");
      cleanups.push(() => filler.destroy());
      await once(filler, "connect");
    }
    expect(await endOf({ host: "127.0.0.1", port }, PLAIN, 300)).toMatchObject({ code: "CONNECT_TIMEOUT", class: "network" });
    expect((await endOf(await tcpServer((socket) => socket.resume()), mtls(), 300)).code).toBe("CONNECT_TIMEOUT");
    dialer = new NodeDialer(keys, { lookup: () => undefined });
    expect((await endOf({ host: "broker.example", port: 8883 }, mtls(), 50)).code).toBe("CONNECT_TIMEOUT");
  });
});

describe("a dial with a credential that cannot serve", () => {
  it("reports what is missing or wrong, without a single connection", async () => {
    let connections = 0;
    const endpoint = await tcpServer(() => (connections += 1));
    keys.generate("key-b");
    const cases: [Credential, string][] = [
      [mtls({ slot: "key-x" }), "KEY_MISSING"],
      [mtls({ slot: "psk" }), "KEY_MISSING"],
      [mtls({ slot: "key-b" }), "KEY_MISMATCH"],
      [mtls({ chain: [] }), "CERTIFICATE_REQUIRED"],
      [mtls({ chain: [Buffer.from("rubbish")] }), "CERTIFICATE_REJECTED"],
      [mtls({ trustAnchors: [Buffer.from("rubbish")] }), "SERVER_CA_UNKNOWN"],
      [{ kind: "psk", slot: "key-a", identity: "dev1" }, "KEY_MISSING"],
      [{ kind: "psk", slot: "psk", identity: "" }, "PSK_REJECTED"],
      [{ kind: "psk", slot: "psk", identity: "x".repeat(129) }, "PSK_REJECTED"],
    ];
    for (const [credential, code] of cases) {
      const recorded = new RecordedLink(dialer, endpoint, credential);
      expect(recorded.link.write(Buffer.of(1))).toBe(false);
      expect((await recorded.ended).code).toBe(code);
      expect(recorded.events).toEqual(["ended"]);
    }
    const closed = new RecordedLink(dialer, endpoint, mtls({ slot: "key-x" }));
    closed.link.close();
    expect((await closed.ended).code).toBe("CLOSED_LOCALLY");
    expect(connections).toBe(0);
  });

  it("notices that the key in a slot was replaced", async () => {
    const endpoint = await tlsServer({});
    keys.generate("key-c");
    const own = mtls({ slot: "key-c", chain: await ca.clientChain(keys.publicKey("key-c"), "dev1") });
    const first = new RecordedLink(dialer, endpoint, own);
    await first.opened;
    first.link.close();
    await first.ended;
    keys.generate("key-c");
    expect((await endOf(endpoint, own)).code).toBe("KEY_MISMATCH");
  });
});

describe("a server that is not to be trusted", () => {
  it("is refused when its certificate is old, not valid yet, of another CA, for another host, or lacks its issuer", async () => {
    const hosts = ["127.0.0.1"];
    const good = await ca.server(hosts);
    const cases: [TlsOptions, string][] = [
      [await options(ca.server(hosts, EXPIRED)), "SERVER_CERTIFICATE_EXPIRED"],
      [await options(ca.server(hosts, NOT_YET_VALID)), "SERVER_CERTIFICATE_NOT_YET_VALID"],
      [await options(stranger.server(hosts)), "SERVER_CA_UNKNOWN"],
      [await options(ca.server(["broker.example"])), "SERVER_NAME_MISMATCH"],
      [{ cert: good.leafPem, key: good.keyPem, ca: [] }, "SERVER_CA_UNKNOWN"],
    ];
    for (const [server, code] of cases) {
      expect(await endOf(await tlsServer(server), mtls())).toMatchObject({ code, class: "server-trust" });
    }
  });

  it("is refused when it shows a leaf of its own with a certificate of the right CA behind it", async () => {
    const own = await stranger.server(["127.0.0.1"]);
    const right = await ca.server(["127.0.0.1"]);
    expect(await endOf(await tlsServer({ cert: own.leafPem + right.chainPem, key: own.keyPem }), mtls())).toMatchObject({
      class: "server-trust",
    });
  });

  it("is refused whatever NODE_TLS_REJECT_UNAUTHORIZED says", async () => {
    const endpoint = await tlsServer(await options(stranger.server(["127.0.0.1"])));
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    cleanups.push(() => delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]);
    expect((await endOf(endpoint, mtls())).code).toBe("SERVER_CA_UNKNOWN");
  });

  it("cannot cost us our credential by an alert before it showed who it is", async () => {
    for (const alert of [42, 44, 45, 48, 116]) {
      const endpoint = await tcpServer((socket) => socket.once("data", () => socket.end(Buffer.of(21, 3, 3, 0, 2, 2, alert))));
      expect(await endOf(endpoint, mtls())).toMatchObject({ code: "TLS_FAILED", class: "network", alert });
    }
  });

  it("cannot cost us our credential by repeating the certificate of the right one, which it cannot sign with", async () => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const { port } = await tlsServer({ ...(await options(ca.server(["127.0.0.1"]))), maxVersion });
      const end = { send: alertRecord(45), end: true };
      const impostor = await startImpostor(port, {
        record: (record, message) =>
          (maxVersion === "TLSv1.2" ? message === SERVER_KEY_EXCHANGE : message === undefined) ? end : { send: record },
      });
      cleanups.push(() => impostor.stop());
      expect(await endOf({ host: "127.0.0.1", port: impostor.port }, mtls())).toMatchObject({ code: "TLS_FAILED", class: "network" });
    }
  });

  it("is refused when it speaks no TLS, or ends in the handshake, or knows nothing newer than TLS 1.1", async () => {
    expect(await endOf(await tcpServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")), mtls())).toMatchObject({
      code: "TLS_FAILED",
      class: "network",
    });
    expect(await endOf(await tcpServer((socket) => socket.once("data", () => socket.end())), mtls())).toMatchObject({
      code: "CONNECTION_RESET",
      class: "network",
    });
    const old = await tlsServer({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" });
    expect(await endOf(old, mtls())).toMatchObject({ code: "TLS_FAILED", class: "network" });
  });

  it("is refused when it answers a PSK with a certificate", async () => {
    expect(await endOf(await tlsServer({ requestCert: false }), { kind: "psk", slot: "psk", identity: "dev1" })).toMatchObject({
      class: "server-trust",
    });
  });

  async function options(server: Promise<{ chainPem: string; keyPem: string }>): Promise<TlsOptions> {
    const { chainPem, keyPem } = await server;
    return { cert: chainPem, key: keyPem };
  }
});

describe("resumption", () => {
  it("drops a ticket with which an attempt failed", async () => {
    const resumed: boolean[] = [];
    const endpoint = await tlsServer({}, (socket) => {
      resumed.push(socket.isSessionReused());
      if (socket.isSessionReused()) socket.destroy();
      else echo(socket);
    });
    for (let turn = 0; turn < 3; turn += 1) {
      const recorded = new RecordedLink(dialer, endpoint, mtls(), { onOpened: (link) => link.write(Buffer.from("hello")) });
      await Promise.race([recorded.bytes(5), recorded.ended]);
      recorded.link.close();
      await recorded.ended;
    }
    expect(resumed).toEqual([false, true, false]);
  });
});

it("a credential of an unknown kind ends the attempt, and throws nothing", async () => {
  const dialer = new NodeDialer(memoryKeyStore());
  for (const credential of [{ kind: "token" }, {}] as unknown[] as Credential[]) {
    const end = await new Promise<Failure>((resolve) => {
      const handlers = { opened: () => undefined, data: () => undefined, drain: () => undefined, ended: resolve };
      dialer.dial({ host: "127.0.0.1", port: 1 }, credential, 1_000, handlers);
    });
    expect(end).toMatchObject({ code: "BAD_CREDENTIAL", class: "local" });
  }
});
