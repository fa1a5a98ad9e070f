/** Links through a SOCKS5 proxy (microsocks), to a real mosquitto: what the proxy is told, and whom its failures are blamed on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Device } from "../../sdk/device/device.js";
import { installIdentity } from "../../sdk/identity/store.js";
import type { Credential } from "../../sdk/platform.js";
import { RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { scriptedProxy, startMicrosocks, type ScriptedProxy, type TestSocksProxy } from "../../test/support/node/test-socks-proxy.js";
import { memoryKeyStore, memoryStorage } from "./memory-stores.js";
import { NodeDialer } from "./node-dialer.js";
import { nodePlatform } from "./node-platform.js";

const LOGIN = { user: "gate@way", password: "p:ss/word" };

const room = mkdtempSync(join(tmpdir(), "hawser-socks-"));
const keyStore = memoryKeyStore();
const storage = memoryStorage();
let ca: TestCa;
let broker: TestMosquitto | undefined;
let port: number;
let mtls: Credential;

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  keyStore.generate("key-a");
  const chain = await ca.clientChain(keyStore.publicKey("key-a"), "dev1");
  mtls = { kind: "mtls", slot: "key-a", chain, trustAnchors: ca.trustAnchors };
  installIdentity(storage, keyStore, { id: "dev1", role: "sensor", chain, trustAnchors: ca.trustAnchors });
  port = await freePort();
  const { chainPem, keyPem } = await ca.server(["localhost"]);
  broker = await startMosquitto(room, "broker", { "ca.pem": ca.caPem, "server.pem": chainPem, "server.key": keyPem }, mtlsListener(port));
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

async function microsocks(login?: typeof LOGIN): Promise<TestSocksProxy> {
  const started = await startMicrosocks(login);
  onTestFinished(() => started.stop());
  return started;
}

async function scripted(...answers: number[][]): Promise<ScriptedProxy> {
  const started = await scriptedProxy(answers);
  onTestFinished(() => started.stop());
  return started;
}

function dial(url: string, to = { host: "localhost", port }, timeoutMs = 30_000): RecordedLink {
  return new RecordedLink(new NodeDialer(keyStore, { proxy: url }), to, mtls, { timeoutMs });
}

describe("a device behind a SOCKS5 proxy", () => {
  it.each(["socks5", "socks5h"])(
    "%s: delivers by its certificate, resumes its session, and leaves the broker's name to the proxy",
    async (scheme) => {
      const proxy = await microsocks();
      const platform = nodePlatform({ keyStore, storage, proxy: `${scheme}://127.0.0.1:${proxy.port}` });
      const device = new Device({ broker: { host: "localhost", port }, enrolment: false }, platform);
      const resumed: boolean[] = [];
      device.listen((event) => void (event.type === "connected" && resumed.push(event.resumed)));
      for (const payload of ["a reading of 21.5", "x".repeat(100_000)]) {
        expect((await device.deliver([{ topic: "up/reading", payload }])).messages).toEqual([{ state: "confirmed", reasonCode: 0x10 }]);
      }
      expect(resumed).toEqual([false, true]);
      expect(await proxy.line(/connected to/)).toContain(`connected to localhost:${port}`);
    },
  );

  it("signs in with what its URL says", async () => {
    const proxy = await microsocks(LOGIN);
    const { user, password } = LOGIN;
    const link = dial(`socks5://${encodeURIComponent(user)}:${encodeURIComponent(password)}@127.0.0.1:${proxy.port}`);
    await link.opened;
    link.link.close();
    await link.ended;
  });

  it("tells no password to a proxy that wants none, and asks for addresses as such", async () => {
    const proxy = await scripted([5, 0], [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    const url = `socks5://user:secret@127.0.0.1:${proxy.port}`;
    for (const host of ["192.0.2.7", "2001:db8::ff00:1", "::1", "mqtt.example.com"]) await dial(url, { host, port: 8883 }).ended;
    const [greeting, ...asked] = proxy.told.map((bytes) => bytes.toString("hex"));
    expect(greeting).toBe("05020002");
    expect(asked.filter((bytes) => bytes !== greeting)).toEqual([
      "05010001c000020722b3",
      "0501000420010db80000000000000000ff00000122b3",
      "050100040000000000000000000000000000000122b3",
      `0501000310${Buffer.from("mqtt.example.com").toString("hex")}22b3`,
    ]);
    expect(Buffer.concat(proxy.told).includes("secret")).toBe(false);
  });
});

describe("what goes wrong at the proxy is the network's fault and names the proxy:", () => {
  it("a login that it wants, and one that it refuses", async () => {
    const proxy = await microsocks(LOGIN);
    for (const [before, words] of [
      ["", "wants a user name and password"],
      ["gate%40way:wrong-secret@", "refuses the user name and password"],
    ] as const) {
      const ended = await dial(`socks5://${before}127.0.0.1:${proxy.port}`).ended;
      expect(ended).toMatchObject({ class: "network", code: "CONNECTION_REFUSED", message: `the proxy 127.0.0.1:${proxy.port} ${words}` });
      expect(ended.message).not.toContain("secret");
    }
  });

  it("a name that it does not know, a port where nothing listens, and nobody there", async () => {
    const proxy = await microsocks();
    const url = `socks5://127.0.0.1:${proxy.port}`;
    for (const to of [
      { host: "no-such-broker.invalid", port: 8883 },
      { host: "localhost", port: await freePort() },
    ]) {
      const found = await dial(url, to).ended;
      expect([found.code, found.message.includes(`does not connect to ${to.host}:${to.port}: `)]).toEqual(["CONNECTION_REFUSED", true]);
    }
    const closed = await freePort();
    expect(await dial(`socks5://127.0.0.1:${closed}`).ended).toMatchObject({ code: "CONNECTION_REFUSED", class: "network" });
    expect(await dial("socks5://no-such-proxy.invalid").ended).toMatchObject({ code: "DNS_FAILED", class: "network" });
  });

  it.each([
    ["another protocol", [[0x48, 0x54]], "is not a SOCKS5 proxy"],
    ["another way to sign in", [[5, 1]], "wants a user name and password"],
    ["an end in the middle", [[5, 0]], "closed the connection"],
    [
      "its rules",
      [
        [5, 0],
        [5, 2, 0, 1],
      ],
      "its rules do not allow it",
    ],
    [
      "a reply that there is not",
      [
        [5, 0],
        [5, 0x77, 0, 1],
      ],
      "reply 119",
    ],
  ])("%s", async (_, answers, words) => {
    const proxy = await scripted(...answers);
    expect(await dial(`socks5://127.0.0.1:${proxy.port}`).ended).toMatchObject({
      code: "CONNECTION_REFUSED",
      message: expect.stringContaining(words) as string,
    });
  });

  it("one that never answers, and it is left alone then", async () => {
    const proxy = await scripted([]);
    expect(await dial(`socks5://127.0.0.1:${proxy.port}`, undefined, 300).ended).toMatchObject({ code: "CONNECT_TIMEOUT" });
    await expect.poll(() => proxy.open.size, { timeout: 60_000 }).toBe(0);
  });
});

it("takes a user name and password of 255 bytes each, and no more", () => {
  const url = (bytes: number): string => `socks5://${"u".repeat(bytes)}:${"p".repeat(bytes)}@proxy`;
  expect(() => new NodeDialer(keyStore, { proxy: url(255) })).not.toThrow();
  expect(() => new NodeDialer(keyStore, { proxy: url(256) })).toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
});
