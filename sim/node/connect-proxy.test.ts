/** Links through an HTTP proxy, to a real mosquitto: what the proxy is told and sees, and whom its failures are blamed on. */
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Device } from "../../sdk/device/device.js";
import { installIdentity } from "../../sdk/identity/store.js";
import type { Credential } from "../../sdk/platform.js";
import { RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { startProxy, type ProxyManners, type TestProxy } from "../../test/support/node/test-proxy.js";
import { memoryKeyStore, memoryStorage } from "./memory-stores.js";
import { NodeDialer } from "./node-dialer.js";
import { nodePlatform } from "./node-platform.js";
import { MqttClient } from "./url-client.js";

const room = mkdtempSync(join(tmpdir(), "hawser-proxy-"));
const keyStore = memoryKeyStore();
const storage = memoryStorage();
const proxies: TestProxy[] = [];
let ca: TestCa;
let broker: TestMosquitto | undefined;
let port: number;
let pskPort: number;
let mtls: Credential;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  keyStore.generate("key-a");
  const chain = await ca.clientChain(keyStore.publicKey("key-a"), "dev1");
  mtls = { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors };
  installIdentity(storage, keyStore, { id: "dev1", role: "sensor", chain, trustAnchors: ca.trustAnchors });
  keyStore.importPsk("psk", Buffer.from("5a".repeat(32), "hex"));
  [port, pskPort] = [await freePort(), await freePort()];
  const { chainPem, keyPem } = await ca.server(["localhost"]);
  const files = { "ca.pem": ca.caPem, "server.pem": chainPem, "server.key": keyPem, psk: `dev1:${"5a".repeat(32)}\n` };
  broker = await startMosquitto(room, "broker", files, [
    ...mtlsListener(port),
    ...[`listener ${pskPort} 127.0.0.1`, "psk_file psk", "psk_hint hawser", "use_identity_as_username true"],
  ]);
});

afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.stop();
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

async function proxy(manners: ProxyManners = {}): Promise<TestProxy> {
  const started = await startProxy(manners);
  proxies.push(started);
  return started;
}

function dial(proxyUrl: string, credential = mtls, to = { host: "localhost", port }, timeoutMs = 10_000): RecordedLink {
  return new RecordedLink(new NodeDialer(keyStore, { proxy: proxyUrl }), to, credential, { timeoutMs });
}

describe("a device behind a proxy", () => {
  it("delivers by its certificate and resumes its TLS session, and the proxy reads nothing of it", async () => {
    const through = await proxy();
    const platform = nodePlatform({ keyStore, storage, proxy: `http://127.0.0.1:${through.port}` });
    const device = new Device({ broker: { host: "localhost", port }, enrolment: false }, platform);
    const resumed: boolean[] = [];
    device.listen((event) => void (event.type === "connected" && resumed.push(event.resumed)));
    for (const payload of ["a reading of 21.5", "x".repeat(100_000)]) {
      expect((await device.deliver([{ topic: "up/reading", payload }])).messages).toEqual([{ state: "confirmed", reasonCode: 0x10 }]);
    }
    expect(resumed).toEqual([false, true]);
    expect(through.asked).toEqual(Array(2).fill({ target: `localhost:${port}`, login: undefined }));
    expect(Buffer.concat(through.seen).includes("a reading")).toBe(false);
    while (through.open.size > 0) await once([...through.open][0]!, "close");
  });

  it("recovers by its pre-shared key through it too", async () => {
    const through = await proxy();
    const link = dial(
      `http://127.0.0.1:${through.port}`,
      { kind: "psk", slot: "psk", identity: "dev1" },
      { host: "localhost", port: pskPort },
    );
    await link.opened;
    expect(through.asked).toEqual([{ target: `localhost:${pskPort}`, login: undefined }]);
    link.link.close();
    await link.ended;
  });

  it("signs in at the proxy with what its URL says", async () => {
    const through = await proxy();
    const client = await MqttClient.connect(`mqtts://localhost:${port}`, {
      ...(await clientFiles()),
      proxy: `http://gate%40way:p%3Ass@127.0.0.1:${through.port}`,
    });
    await client.disconnect();
    expect(through.asked[0]?.login).toBe(`Basic ${Buffer.from("gate@way:p:ss").toString("base64")}`);
  });
});

describe("what goes wrong at the proxy is the network's fault and names the proxy:", () => {
  it.each([
    ["407 Proxy Authentication Required", "CONNECTION_REFUSED", /wants a user name and password/],
    ["403 Forbidden", "CONNECTION_REFUSED", /rules do not allow it/],
    ["502 Bad Gateway", "CONNECTION_REFUSED", /status 502/],
  ])("%s", async (status, code, words) => {
    const through = await proxy({ status });
    const { class: ofClass, ...ended } = await dial(`http://u:secret@127.0.0.1:${through.port}`).ended;
    expect(ended).toMatchObject({ code, message: expect.stringMatching(words) });
    expect([ofClass, ended.message.includes(`127.0.0.1:${through.port}`), ended.message.includes("secret")]).toEqual([
      "network",
      true,
      false,
    ]);
  });

  it("nobody there, no such name, and one that never answers", async () => {
    expect(await dial(`http://127.0.0.1:${await freePort()}`).ended).toMatchObject({
      code: "CONNECTION_REFUSED",
      message: expect.stringMatching(/the proxy/),
    });
    expect(await dial("http://no-such-proxy.invalid:3128").ended).toMatchObject({ code: "DNS_FAILED" });
    const mute = await proxy({ isMute: true });
    expect(await dial(`http://127.0.0.1:${mute.port}`, mtls, undefined, 300).ended).toMatchObject({ code: "CONNECT_TIMEOUT" });
    while (mute.open.size > 0) await once([...mute.open][0]!, "close");
  });

  it("a server that is not a proxy", async () => {
    const web = createServer((socket) => void socket.end("SSH-2.0-OpenSSH_9.2\r\n")).listen(0, "127.0.0.1");
    onTestFinished(() => void web.close());
    await once(web, "listening");
    const ended = await dial(`http://127.0.0.1:${(web.address() as AddressInfo).port}`).ended;
    expect(ended.class).toBe("network");
  });

  it("a proxy over TLS whose certificate no public CA has signed", async () => {
    const { chainPem, keyPem } = await ca.server(["localhost"]);
    const through = await proxy({ tls: { cert: chainPem, key: keyPem } });
    expect(await dial(`https://localhost:${through.port}`).ended).toMatchObject({ code: "TLS_FAILED", class: "network" });
  });
});

it("a proxy that leads elsewhere meets a device that gives nothing away: the server has to prove that it is the broker", async () => {
  const stranger = await TestCa.create("Stranger");
  const { chainPem, keyPem } = await stranger.server(["localhost"]);
  const elsewhere = await freePort();
  const files = { "server.pem": chainPem, "server.key": keyPem };
  const lines = [`listener ${elsewhere} 127.0.0.1`, "certfile server.pem", "keyfile server.key", "allow_anonymous true"];
  const other = await startMosquitto(room, "other", files, lines);
  onTestFinished(() => other.stop());
  const through = await proxy({ leadsTo: elsewhere });
  expect(await dial(`http://127.0.0.1:${through.port}`).ended).toMatchObject({ code: "SERVER_CA_UNKNOWN" });
});

it("a link without TLS does not go through a proxy", async () => {
  const through = await proxy();
  expect(await dial(`http://127.0.0.1:${through.port}`, { kind: "none" }).ended).toMatchObject({
    message: expect.stringMatching(/without TLS/),
  });
  expect(through.asked).toEqual([]);
  await expect(MqttClient.connect("mqtt://localhost", { proxy: "http://127.0.0.1:3128" })).rejects.toMatchObject({ code: "BAD_OPTION" });
});

it.each(["", "proxy:3128", "socks4://proxy", "socks5://proxy/path", "http://proxy/path", "http://u:%zz@proxy", "http://"])(
  "%j is not a proxy's URL",
  (url) => {
    expect(() => new NodeDialer(keyStore, { proxy: url })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
  },
);

async function clientFiles(): Promise<{ ca: string; cert: string; key: string }> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const chain = await ca.clientChain(publicKey.export({ type: "spki", format: "der" }), "gateway");
  const key = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return { ca: ca.caPem, cert: chain.map((der) => new X509Certificate(der).toString()).join(""), key };
}
