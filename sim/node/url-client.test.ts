/** `MqttClient.connect(url)` against a real mosquitto: passwords, mutual TLS, refusals that say what to do, and coming back. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { MqttClient } from "./url-client.js";
import { parseBrokerUrl } from "./url-link.js";

const room = mkdtempSync(join(tmpdir(), "hawser-url-"));
let ca: TestCa;
let plainPort: number;
let tlsPort: number;
let files: Record<string, string>;
let broker: TestMosquitto | undefined;
let starts = 0;

async function start(): Promise<void> {
  const lines = [
    `listener ${plainPort} 127.0.0.1`,
    "password_file passwords",
    `listener ${tlsPort} 127.0.0.1`,
    "certfile server.pem",
    "keyfile server.key",
    "password_file passwords",
  ];
  broker = await startMosquitto(room, `broker-${starts++}`, files, lines);
}

beforeAll(async () => {
  ca = await TestCa.create("Hawser");
  [plainPort, tlsPort] = [await freePort(), await freePort()];
  const passwords = join(room, "passwords");
  execFileSync("mosquitto_passwd", ["-b", "-c", passwords, "gateway", "p@ss%word"]);
  const server = await ca.server(["localhost", "127.0.0.1"]);
  files = { passwords: readFileSync(passwords, "utf8"), "server.pem": server.chainPem, "server.key": server.keyPem };
  await start();
});

afterAll(async () => {
  await broker?.stop();
  rmSync(room, { recursive: true, force: true });
});

const login = { username: "gateway", password: "p@ss%word" };

describe("MqttClient.connect", () => {
  it("connects over TLS by ca, username and password, and exchanges messages", async () => {
    const client = await MqttClient.connect(`mqtts://localhost:${tlsPort}`, { ca: ca.caPem, ...login });
    const subscription = client.subscribe("greetings", { qos: 1 });
    await subscription.granted;
    await client.publish("greetings", "hello", { qos: 1 });
    expect((await subscription.next()).value?.text()).toBe("hello");
    await client.disconnect();
    expect(client.connected).toBe(false);
  });

  it("takes the login of the URL, decoded, on a plain link too", async () => {
    const client = await MqttClient.connect(`mqtt://gateway:p%40ss%25word@127.0.0.1:${plainPort}`);
    expect(client.connected).toBe(true);
    await client.disconnect();
  });

  it.each([
    [
      "a wrong password",
      () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, { ca: ca.caPem, username: "gateway", password: "wrong" }),
      "NOT_AUTHORIZED",
    ],
    [
      "a CA that is not the broker's",
      async () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, { ca: (await TestCa.create("Other")).caPem, ...login }),
      "SERVER_CA_UNKNOWN",
    ],
    ["no CA, where the broker's is not public", () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, login), "SERVER_CA_UNKNOWN"],
    [
      "another name than the certificate's",
      () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, { ca: ca.caPem, serverName: "other.example", ...login }),
      "SERVER_NAME_MISMATCH",
    ],
    ["nobody on the port", async () => MqttClient.connect(`mqtt://127.0.0.1:${await freePort()}`), "CONNECTION_REFUSED"],
    ["an option that there is none of", () => MqttClient.connect(`mqtt://127.0.0.1:${plainPort}`, { keepalive: 5 } as never), "BAD_OPTION"],
    ["a key without its certificate", () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, { key: "x" }), "BAD_OPTION"],
    ["a CA without TLS", () => MqttClient.connect(`mqtt://127.0.0.1:${plainPort}`, { ca: ca.caPem }), "BAD_OPTION"],
    [
      "a certificate that cannot be read",
      () => MqttClient.connect(`mqtts://localhost:${tlsPort}`, { ca: ca.caPem, cert: "x", key: "y" }),
      "TLS_FAILED",
    ],
  ])("rejects with a code for %s", async (_, connect, code) => {
    await expect(connect()).rejects.toMatchObject({ code });
  });

  it("comes back by itself when the broker does, and delivers what waited", async () => {
    const client = await MqttClient.connect(`mqtts://localhost:${tlsPort}`, {
      ca: ca.caPem,
      ...login,
      reconnect: { baseMs: 10, floorMs: 10, capMs: 50 },
    });
    const events = client.events();
    await broker?.stop();
    expect((await events.next()).value?.type).toBe("disconnected");
    const published = client.publish("t", "while away", { qos: 1 });
    await start();
    expect((await events.next()).value).toMatchObject({ type: "connected", tlsVersion: "TLSv1.3" });
    await published;
    await client.drain();
    await client[Symbol.asyncDispose]();
    expect(client.statistics).toMatchObject({ connections: 2, acksOutstanding: 0 });
  });
});

describe("A broker's URL", () => {
  it("has the registered port where it names none, and may be an IPv6 address", () => {
    expect([parseBrokerUrl("mqtts://b.example"), parseBrokerUrl("mqtt://[::1]")]).toEqual([
      { host: "b.example", port: 8_883, isTls: true },
      { host: "::1", port: 1_883, isTls: false },
    ]);
  });

  it.each([
    "b.example",
    "https://b.example",
    "mqtts://",
    "mqtts://b.example/path",
    "mqtts://b.example?x",
    "mqtts://b.example:0",
    "mqtts://b.example:70000",
    "mqtts://u:s3cret%@b.example",
  ])("is refused when it is %s, and no secret of it is shown", (url) => {
    expect(() => parseBrokerUrl(url)).toThrow(
      expect.objectContaining({ code: "BAD_URL", message: expect.not.stringContaining("s3cret") as string }),
    );
  });
});
