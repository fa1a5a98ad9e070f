/**
 * Strangers who open TLS and never finish it, from many addresses at once. The suite scales the crowd and the broker's bound down; the full
 * size:
 * `HAWSER_HALF_OPEN=14000 npx vitest run sim/brokers/half-open-crowd.test.ts`.
 */
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TestBroker } from "../../test/support/brokers/test-broker.js";

const FULL_SIZE = process.env["HAWSER_HALF_OPEN"];
const STRANGERS = Number(FULL_SIZE ?? 600);
const LIMITS = FULL_SIZE === undefined ? { maxHalfOpen: 150 } : {};
/** Fewer than the broker lets one address hold: the bound of all of them is what counts. */
const PER_ADDRESS = 50;
const DEVICES = 10;
/** Not so many at once that they are all there before the broker has looked at one. */
const AT_ONCE = 20;

let test: TestBroker;
const strangers: Socket[] = [];

beforeEach(async () => {
  test = await TestBroker.create();
});
afterEach(async () => {
  for (const socket of strangers.splice(0)) socket.destroy();
  await test.close();
});

/** The first bytes of a real client. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read: () => undefined, write: (chunk: Buffer) => resolve(chunk) });
    connectTls({ socket: wire, servername: "localhost" }).on("error", () => undefined);
  });
}

/** Resolves when the connection has sent what it is going to send, or was closed. */
function stranger(index: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const address = Math.floor(index / PER_ADDRESS);
    const localAddress = `127.1.${address % 250}.${1 + Math.floor(address / 250)}`;
    const socket = connect({ port: test.mtlsPort, host: "127.0.0.1", localAddress }).on("error", () => undefined);
    strangers.push(socket);
    socket.once("connect", () => socket.write(bytes, () => resolve())).once("close", () => resolve());
  });
}

it(
  "lets every device in while strangers leave TLS handshakes unfinished, some before the first record and some after the server's answer",
  { timeout: 300_000 },
  async () => {
    await test.start(LIMITS);
    const before = await test.signIn(await test.authority.issue("before"), "before");
    const identities = await Promise.all(Array.from({ length: DEVICES }, (_, n) => test.authority.issue(`dev${n}`)));
    const hello = await clientHello();
    const kinds = [hello, hello.subarray(0, 100)];
    const tookMs: number[] = [];
    let opened = 0;
    const flood = async (until: number): Promise<void> => {
      for (; opened < until; opened += AT_ONCE)
        await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => stranger(opened + n, kinds[n % kinds.length] ?? hello)));
    };
    for (const [n, identity] of identities.entries()) {
      const more = flood(((n + 1) * STRANGERS) / DEVICES);
      const startedMs = performance.now();
      const device = await test.signIn(identity, `dev${n}`);
      tookMs.push(performance.now() - startedMs);
      await device.publishAsync(`devices/dev${n}/up/x`, "in", { qos: 1 });
      await more;
    }
    await before.publishAsync("devices/before/up/x", "still there", { qos: 1 });
    expect(before.connected).toBe(true);
    expect(await test.event("refused")).toMatchObject({ reason: "TOO_MANY_CONNECTIONS", detail: expect.stringContaining("make room") });
    expect(test.events.filter((event) => event.type === "connected").map(({ name }) => name)).toEqual([
      "before",
      ...identities.map((_, n) => `dev${n}`),
    ]);
    if (FULL_SIZE !== undefined)
      process.stdout.write(`${STRANGERS} half-open: devices signed in after ${tookMs.map((ms) => ms.toFixed(0)).join(", ")} ms\n`);
  },
);
