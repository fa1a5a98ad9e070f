/** The client against a real mosquitto over plain TCP. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import type { MqttClient, MqttOptions } from "./index.js";
import { testPromises } from "../../test/support/mqtt/test-broker-promises.js";
import { end, makeClient, next, nextTexts, plainDial, subscribed } from "../../test/support/mqtt/test-clients.js";

const room = mkdtempSync(join(tmpdir(), "hawser-mqtt-"));
const dial = plainDial(() => port);
let broker: TestMosquitto;
let port: number;

beforeAll(async () => {
  port = await freePort();
  broker = await startMosquitto(room, "broker", {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true", "max_queued_messages 0"]);
});

afterAll(async () => {
  await broker.stop();
  rmSync(room, { recursive: true, force: true });
});

async function online(options: Partial<MqttOptions> & Pick<MqttOptions, "protocolVersion">): Promise<MqttClient> {
  const client = makeClient(options);
  await client.connect(dial);
  return client;
}

describe.each([4, 5] as const)("against mosquitto in protocol version %i", (protocolVersion) => {
  testPromises({ dial, protocolVersion });

  test("a backlog larger than the receive maximum arrives over one connection: the broker forgets the number", async () => {
    const topic = `backlog/${protocolVersion}`;
    const client = await online({ protocolVersion, cleanStart: false, sessionExpirySeconds: 60 });
    const subscription = await subscribed(client, topic, { qos: 1 });
    await client.disconnect();
    const sender = await online({ protocolVersion });
    const texts = Array.from({ length: 500 }, (_, n) => `${n}`);
    await Promise.all(texts.map((text) => sender.publish(topic, text, { qos: 1 })));
    const ended = end(client);
    await client.connect(dial);
    expect(await Promise.race([nextTexts(subscription, texts.length), ended])).toEqual(texts);
  });

  test("a shared subscription gives each message to one of its members", async () => {
    const members = await Promise.all([0, 1].map(() => online({ protocolVersion })));
    const shares = await Promise.all(members.map((member) => subscribed(member, `$share/group/shared/${protocolVersion}`, { qos: 1 })));
    const sender = await online({ protocolVersion });
    const received: string[] = [];
    let report: () => void = () => undefined;
    const all = new Promise<void>((resolve) => (report = resolve));
    for (const share of shares) {
      void (async () => {
        for await (const message of share) if (received.push(message.text()) === 20) report();
      })();
    }
    await Promise.all(Array.from({ length: 20 }, (_, n) => sender.publish(`shared/${protocolVersion}`, `${n}`, { qos: 1 })));
    await all;
    expect([...received].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
  });
});

test("a flood of 10,000 messages of each level arrives whole and in order", async () => {
  const client = await online({ protocolVersion: 5, inFlightWindow: 60, receiveMaximum: 100 });
  for (const qos of [1, 2] as const) {
    const subscription = await subscribed(client, `flood/${qos}`, { qos });
    let sent = 0;
    const worker = async (): Promise<void> => {
      while (sent < 10_000) await client.publish(`flood/${qos}`, `${sent++}`, { qos });
    };
    const workers = Promise.all(Array.from({ length: 50 }, worker));
    for (let n = 0; n < 10_000; n++) expect((await next(subscription)).text()).toBe(`${n}`);
    await workers;
    await subscription.close();
  }
});
