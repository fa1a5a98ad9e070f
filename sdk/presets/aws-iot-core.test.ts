/** Each limit of AWS IoT Core is crossed once: without the preset the double shows what AWS does, with it the desk refuses. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { awsIotDouble } from "../../test/support/brokers/aws-iot-double.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { RECOVERY, World } from "../../test/support/device/test-world.js";
import { Device, type DeviceConfig, type DeviceTopic } from "../device/device.js";
import { HawserError } from "../errors.js";
import type { PublishOptions } from "../mqtt/contract/options.js";
import { awsIotCore } from "./aws-iot-core.js";

const BROKER = { host: "a1b2-ats.iot.eu-central-1.amazonaws.com", port: 8883 };
const USUAL: DeviceConfig = { broker: BROKER, preset: awsIotCore };
const page = readFileSync(new URL("../../docs/any-broker.md", import.meta.url), "utf8").replace(/\s+/g, " ");

/** Eight slashes, with the device's base before them. */
const DEEP = "1/2/3/4/5/6/7";
const LONG = "x".repeat(250);
const BIG = "x".repeat(131_073);

async function started(config: DeviceConfig, double = awsIotDouble()): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  world.dialer.usually = double;
  const device = new Device(config, world.platform);
  device.listen((event) => world.events.push(event));
  device.start();
  await world.pass(0);
  return { world, device };
}

/** What the desk says, held to the page. */
function onThePage(error: unknown): string {
  expect(error).toBeInstanceOf(HawserError);
  const { code, message } = error as HawserError;
  expect(code).toBe("BEYOND_BROKER_LIMIT");
  const words = message.replace(/^AWS IoT Core: /, "").replace(/ \(got .*$/, "");
  expect(page).toContain(words);
  return words;
}

async function refusal(attempt: () => unknown): Promise<unknown> {
  try {
    await attempt();
  } catch (error) {
    return error;
  }
  throw new Error("accepted");
}

describe("With the preset awsIotCore, on the desk:", () => {
  it.each<[string, Partial<DeviceConfig>, words: string]>([
    ["another port", { broker: { ...BROKER, port: 1_883 } }, "port 443 with ALPN x-amzn-mqtt-ca or 8883"],
    ["443 without ALPN", { broker: { ...BROKER, port: 443 } }, "port 443 with ALPN x-amzn-mqtt-ca or 8883"],
    ["443 with another ALPN", { broker: { ...BROKER, port: 443, alpn: "mqtt" } }, "port 443 with ALPN x-amzn-mqtt-ca or 8883"],
    ["a recovery by pre-shared key", { recovery: RECOVERY }, "no pre-shared keys"],
    [
      "a password instead of a certificate",
      { credential: { kind: "password", id: "s1", trustAnchors: [TEST_ANCHOR] }, login: () => ({ password: "p" }) },
      "sign in with a certificate",
    ],
    ["a keep-alive of 29 s", { keepAliveSeconds: 29 }, "keep-alive of 30 to 1200 seconds"],
    ["a keep-alive of 1201 s", { keepAliveSeconds: 1_201 }, "keep-alive of 30 to 1200 seconds"],
    ["a will at QoS 2", { will: { topic: "up/status", payload: "", qos: 2 } }, "at most QoS 1"],
    ["a will too deep", { will: { topic: DEEP, payload: "" } }, "at most 7 slashes in a topic"],
  ])("%s is refused in the page's words", async (_, change, words) => {
    const world = await World.provisioned();
    expect(onThePage(await refusal(() => new Device({ ...USUAL, ...change }, world.platform)))).toBe(words);
  });

  it.each<[string, DeviceTopic, string, PublishOptions, words: string]>([
    ["QoS 2", "up/x", "1", { qos: 2 }, "at most QoS 1"],
    ["eight slashes", DEEP, "1", { qos: 1 }, "at most 7 slashes in a topic"],
    ["a long topic", LONG, "1", { qos: 1 }, "at most 256 bytes in a topic"],
    ["a message of more than 128 KiB", "up/x", BIG, { qos: 1 }, "at most 131072 bytes in a message"],
  ])("a publish with %s is refused, and would not have been acknowledged", async (_, topic, payload, options, words) => {
    const { world, device } = await started(USUAL);
    expect(onThePage(await refusal(() => device.publish(topic, payload, options)))).toBe(words);
    expect(device.status.outbox.messages).toBe(0);
    expect(world.dialer.last.of("publish")).toEqual([]);
    const bare = await started({ broker: BROKER });
    const sent = watch(bare.device.publish(topic, payload, options));
    await bare.world.pass(0);
    expect(bare.world.dialer.peers.flatMap((peer) => peer.of("publish")).length).toBeGreaterThan(0);
    expect(sent.state).toBe("pending");
  });

  it.each<[string, DeviceTopic, 0 | 1 | 2, words: string]>([
    ["at QoS 2", "down/#", 2, "at most QoS 1"],
    ["with eight slashes", `${DEEP.slice(0, -1)}#`, 1, "at most 7 slashes in a topic"],
  ])("a subscription %s is refused, and would not have been granted", async (_, filter, qos, words) => {
    const { device } = await started(USUAL);
    expect(onThePage(await refusal(() => device.subscribe(filter, { qos })))).toBe(words);
    const bare = await started({ broker: BROKER });
    const granted = watch(bare.device.subscribe(filter, { qos }).granted);
    await bare.world.pass(0);
    expect(granted.state).toBe("pending");
  });
});

describe("A device within the limits of AWS IoT Core", () => {
  it.each([BROKER, { ...BROKER, port: 443, alpn: "x-amzn-mqtt-ca" }])("lives there, on port $port", async (broker) => {
    const { world, device } = await started({ ...USUAL, broker, will: { topic: "up/status", payload: "gone", qos: 1, retain: true } });
    const filters = Array.from({ length: 12 }, (_, n) => watch(device.subscribe(`down/${n}`, { qos: 1 }).granted));
    const sent = watch(device.publish("up/2/3/4/5/6", "1", { qos: 1, retain: true }));
    const rule = watch(device.publish({ absolute: "$aws/rules/store/1/2/3/4/5/6/7/8" }, "1", { qos: 1 }));
    await world.pass(0);
    expect([sent.state, rule.state, new Set(filters.map(({ state }) => state)).size]).toEqual(["resolved", "resolved", 1]);
    expect(filters[0]?.state).toBe("resolved");
    expect(world.dialer.last.of("subscribe").every(({ subscriptions }) => (subscriptions as object[]).length <= 8)).toBe(true);
    expect(world.of("disconnected")).toEqual([]);
  });

  it("that AWS registers at its first connection is closed once, keeps its certificate, and is in at the second", async () => {
    const { world, device } = await started(USUAL, awsIotDouble({ registered: false }));
    await world.pass(300_000);
    expect(world.of("disconnected")).toHaveLength(1);
    expect(world.of("credential-changed")).toEqual([]);
    expect(device.status).toMatchObject({ state: "online", credential: "mtls" });
  });
});
