/**
 * Strangers who open TLS and never finish it, from many addresses at once. The suite scales the crowd and the broker's bound down; the full
 * size:
 * `HAWSER_HALF_OPEN=14000 npx vitest run sim/brokers/half-open-crowd.test.ts`.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Strangers } from "../../test/support/brokers/half-open-strangers.js";
import { TestBroker } from "../../test/support/brokers/embedded-test-broker.js";

const FULL_SIZE = process.env["HAWSER_HALF_OPEN"];
const STRANGERS = Number(FULL_SIZE ?? 600);
const LIMITS = FULL_SIZE === undefined ? { maxHalfOpen: 150 } : {};
const DEVICES = 10;

let test: TestBroker;
let strangers: Strangers | undefined;

beforeEach(async () => {
  test = await TestBroker.create();
});
afterEach(async () => {
  strangers?.leave();
  await test.close();
});

it(
  "lets every device in while strangers leave TLS handshakes unfinished, some before the first record and some after the server's answer",
  { timeout: 300_000 },
  async () => {
    await test.start(LIMITS);
    const before = await test.signIn(await test.authority.issue("before"), "before");
    const identities = await Promise.all(Array.from({ length: DEVICES }, (_, n) => test.authority.issue(`dev${n}`)));
    const crowd = await Strangers.before(test.mtlsPort);
    strangers = crowd;
    const tookMs: number[] = [];
    for (const [n, identity] of identities.entries()) {
      const more = crowd.comeUntil(((n + 1) * STRANGERS) / DEVICES);
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
