/**
 * ALPN against real servers, offered by Node's dialer (OpenSSL) and by the dialer of the chip (Mbed TLS, on the XS host): both must look
 * the same to the server.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type TlsOptions } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import type { Credential, Dialer, Endpoint } from "../../sdk/platform.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { NodeDialer } from "../../sim/node/node-dialer.js";
import { buildHost } from "../../sim/xs/host-build.js";
import { nativeParts } from "../../sim/xs/native-parts.js";
import { connectPacket, RecordedLink } from "../support/node/link-recorder.js";
import { freePort, startMosquitto, type TestMosquitto } from "../support/node/test-mosquitto.js";
import { TestCa } from "../support/node/test-pki.js";
import { ProgramFolder } from "../support/xs/program-folder.js";
import { RemoteXs } from "../support/xs/remote-xs.js";

/** The name that AWS IoT Core takes on port 443 for clients with certificates. */
const AWS = "x-amzn-mqtt-ca";

const room = mkdtempSync(join(tmpdir(), "hawser-alpn-"));
const programs = new ProgramFolder();
const cleanups: (() => unknown)[] = [];
const engines = new Map<string, { dialer: Dialer; chain: Uint8Array[] }>();
let ca: TestCa;
let server: Awaited<ReturnType<TestCa["server"]>>;
let broker: TestMosquitto;
let plainPort: number;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  server = await ca.server(["localhost", "127.0.0.1"]);
  plainPort = await freePort();
  broker = await startMosquitto(room, "broker", {}, [`listener ${plainPort} 127.0.0.1`, "allow_anonymous true"]);
  const keys = memoryKeyStore();
  keys.generate("key-a");
  engines.set("Node", { dialer: new NodeDialer(keys), chain: await ca.clientChain(keys.publicKey("key-a"), "dev1") });
  const entry = fileURLToPath(new URL("../support/xs/remote-program.ts", import.meta.url));
  const { file } = await bundleDevice({ entry, outputFile: join(programs.path, "remote.mjs") });
  const native = await nativeParts(64);
  await buildHost({ bits: 64, native });
  const xs = new RemoteXs(
    await programs.start({ program: file, bits: 64, native, keysFolder: join(programs.path, "keys"), inRom: "code" }),
  );
  await xs.generate("key-a");
  engines.set("XS", { dialer: xs.dialer(), chain: await ca.clientChain(await xs.publicKey("key-a"), "dev1") });
}, 600_000);

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await programs.close();
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});

function dial(engine: string, endpoint: Endpoint): RecordedLink {
  const { dialer, chain } = engines.get(engine)!;
  const credential: Credential = { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors };
  return new RecordedLink(dialer, endpoint, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
}

/** A TLS front that knows these names and hands what it decrypts to mosquitto; `taken` is what it settled on with each client. */
async function front(options: TlsOptions): Promise<{ endpoint: Endpoint; taken: (string | false | null)[] }> {
  const taken: (string | false | null)[] = [];
  const listener = createServer({ cert: server.chainPem, key: server.keyPem, ca: ca.caPem, requestCert: true, ...options }, (socket) => {
    taken.push(socket.alpnProtocol);
    const behind = connect(plainPort, "127.0.0.1");
    socket.on("error", () => behind.destroy()).on("close", () => behind.destroy());
    behind.on("error", () => socket.destroy());
    socket.pipe(behind).pipe(socket);
  });
  listener.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
  await once(listener, "listening");
  cleanups.push(() => listener.close());
  return { endpoint: { host: "localhost", port: (listener.address() as AddressInfo).port }, taken };
}

async function isServed(recorded: RecordedLink): Promise<void> {
  expect([...(await recorded.bytes(4))]).toEqual([0x20, 2, 0, 0]);
  recorded.link.close();
  expect((await recorded.ended).code).toBe("CLOSED_LOCALLY");
}

describe.each(["Node", "XS"])("ALPN on %s", (engine) => {
  it.each(["TLSv1.3", "TLSv1.2"] as const)("leads through a front that shares its port to the broker behind it, on %s", async (version) => {
    const { endpoint, taken } = await front({ ALPNProtocols: ["http/1.1", AWS], minVersion: version, maxVersion: version });
    await isServed(dial(engine, { ...endpoint, alpn: AWS }));
    expect(taken).toEqual([AWS]);
  });

  it("is offered to OpenSSL's own server as RFC 7301 has it", async () => {
    writeFileSync(join(room, "server.pem"), server.chainPem + server.keyPem, { mode: 0o600 });
    const port = await freePort();
    const child = spawn(
      "openssl",
      [
        "s_server",
        "-accept",
        `127.0.0.1:${port}`,
        "-cert",
        join(room, "server.pem"),
        "-cert_chain",
        join(room, "server.pem"),
        "-alpn",
        "mqtt",
      ],
      {
        stdio: ["pipe", "pipe", "pipe"],
      },
    );
    cleanups.push(() => child.kill("SIGKILL"));
    let said = "";
    const hears = (words: string): Promise<void> =>
      new Promise((resolve) => child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()).includes(words) && resolve()));
    await hears("ACCEPT");
    const selected = hears("ALPN protocols selected: mqtt");
    const recorded = dial(engine, { host: "localhost", port, alpn: "mqtt" });
    await recorded.opened;
    await selected;
    recorded.link.close();
    await recorded.ended;
  });

  it("ends with the server's alert where the server knows other names only, and the certificate is not blamed", async () => {
    const { endpoint, taken } = await front({ ALPNProtocols: ["http/1.1", "h2"] });
    expect(await dial(engine, { ...endpoint, alpn: AWS }).ended).toMatchObject({
      code: "TLS_FAILED",
      class: "network",
      alert: 120,
      message: expect.stringContaining("no_application_protocol") as string,
    });
    expect(taken).toEqual([]);
  });

  it("is not offered where no name is given, and a server without ALPN is none the wiser", async () => {
    const knowing = await front({ ALPNProtocols: [AWS] });
    await isServed(dial(engine, knowing.endpoint));
    expect(knowing.taken).toEqual([false]);
    const plain = await front({});
    await isServed(dial(engine, { ...plain.endpoint, alpn: AWS }));
    expect(plain.taken).toEqual([false]);
  });
});
