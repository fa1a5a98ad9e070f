/** Each limit of each preset is crossed once: the desk refuses in the page's words, and without the preset the double shows why. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  dpsDouble,
  emqxDouble,
  eventGridDouble,
  hiveMqDouble,
  homeAssistantDouble,
  iotHubDouble,
  thingsBoardDouble,
} from "../../test/support/brokers/hosted-doubles.js";
import type { Behaviour } from "../../test/support/device/scripted-dialer.js";
import { TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { ID, RECOVERY, World } from "../../test/support/device/test-world.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { Device, type DeviceConfig, type DeviceTopic } from "../device/device.js";
import { HawserError } from "../errors.js";
import type { PublishOptions, SubscribeOptions } from "../mqtt/contract/options.js";
import {
  azureDps,
  azureEventGrid,
  azureIotHub,
  brokerPreset,
  emqxServerless,
  hiveMqCloud,
  homeAssistant,
  thingsBoard,
  type BrokerPreset,
} from "./index.js";

const PAGE = readFileSync(new URL("../../docs/any-broker.md", import.meta.url), "utf8");

const PASSWORD: Partial<DeviceConfig> = {
  credential: { kind: "password", id: ID, trustAnchors: [TEST_ANCHOR] },
  login: () => ({ username: "meter", password: "p" }),
};
const TOKEN = "A1_TEST_TOKEN";

/** What becomes of it without the preset: no answer, an acknowledgement that misleads, or the code of a refusal. */
type Fate = "pending" | "resolved" | "UNSPECIFIED_ERROR";

interface Case {
  name: string;
  preset: BrokerPreset;
  double: () => Behaviour;
  usual: DeviceConfig;
  slips: [what: string, change: Partial<DeviceConfig>, words: string][];
  publishes: [what: string, topic: DeviceTopic, payload: string, options: PublishOptions, words: string, fate: Fate][];
  subscriptions: [what: string, filter: DeviceTopic, options: SubscribeOptions, words: string, fate: Fate][];
  /** Within all limits. */
  lives: { publish: DeviceTopic; options?: PublishOptions; payload?: string; filters: DeviceTopic[] };
}

const filters = (count: number): DeviceTopic[] => Array.from({ length: count }, (_, n) => `down/${n}`);
const host = (name: string): DeviceConfig["broker"] => ({ host: name, port: 8883 });
const HUB_USER = "hub.azure-devices.net/{id}/?api-version=2021-04-12";
const HUB = { broker: host("hub.azure-devices.net"), enrolment: false, protocolVersion: 4, username: HUB_USER } as const;
const HUB_FILTERS = ["twin/res/#", "twin/PATCH/properties/desired/#", "methods/POST/#"].map((one) => ({ absolute: `$iothub/${one}` }));

const CASES: Case[] = [
  {
    name: "Azure Event Grid",
    preset: azureEventGrid,
    double: eventGridDouble,
    usual: { broker: host("ns.westeurope-1.ts.eventgrid.azure.net") },
    slips: [
      ["the port of its WebSocket", { broker: { host: "ns.ts.eventgrid.azure.net", port: 443 } }, "port 8883"],
      ["a password", PASSWORD, "sign in with a certificate"],
      ["a recovery by pre-shared key", { recovery: RECOVERY }, "no pre-shared keys"],
      ["a keep-alive of 1161 s", { keepAliveSeconds: 1_161 }, "keep-alive of 5 to 1160 seconds"],
      ["a retained will", { will: { topic: "up/status", payload: "", retain: true } }, "no retained messages"],
      ["a will at QoS 2", { will: { topic: "up/status", payload: "", qos: 2 } }, "at most QoS 1"],
      ["a late will", { will: { topic: "up/status", payload: "", delaySeconds: 301 } }, "a will delay of at most 300 seconds"],
    ],
    publishes: [
      ["QoS 2", "up/x", "1", { qos: 2 }, "at most QoS 1", "pending"],
      ["the retain flag", "up/x", "1", { qos: 1, retain: true }, "no retained messages", "pending"],
      ["a packet of more than 512 KiB", "up/x", "x".repeat(524_270), { qos: 1 }, "at most 524288 bytes in a packet", "pending"],
    ],
    subscriptions: [
      ["that is shared", { absolute: "$share/g/a" }, { qos: 1 }, "no shared subscriptions", "pending"],
      ["with an identifier", "down/#", { subscriptionIdentifier: 7 }, "no subscription identifiers", "pending"],
      ["with user properties", "down/#", { userProperties: { a: "b" } }, "no user properties on a subscription", "pending"],
    ],
    lives: { publish: "up/x", options: { qos: 1, properties: { userProperties: { a: "b" } } }, filters: filters(12) },
  },
  {
    name: "Azure IoT Hub",
    preset: azureIotHub,
    double: () => iotHubDouble(ID),
    usual: HUB,
    slips: [
      ["another port", { broker: { host: "hub.azure-devices.net", port: 443 } }, "port 8883"],
      ["MQTT 5.0", { protocolVersion: 5 }, "protocol version 4"],
      ["any version", { protocolVersion: "auto" }, "protocol version 4"],
      ["a user name of its own", { username: "{id}" }, 'username: "HUB.azure-devices.net/{id}/?api-version=2021-04-12"'],
      ["the authority's topics", { enrolment: true }, "only with enrolment: false"],
      ["a keep-alive of 1178 s", { keepAliveSeconds: 1_178 }, "keep-alive of 5 to 1177 seconds"],
      ["a will elsewhere", { will: { topic: "up/status", payload: "" } }, "only the topics of the table below"],
    ],
    publishes: [
      ["a topic of one's own", "up/x", "1", { qos: 1 }, "only the topics of the table below", "pending"],
      ["QoS 2", "messages/events/", "1", { qos: 2 }, "at most QoS 1", "pending"],
      ["the retain flag", "messages/events/", "1", { qos: 1, retain: true }, "no retained messages", "resolved"],
      ["more than 256 KB", "messages/events/", "x".repeat(262_145), { qos: 1 }, "at most 262144 bytes in a message", "pending"],
    ],
    subscriptions: [["to a topic of one's own", "down/#", { qos: 1 }, "only the topics of the table below", "pending"]],
    lives: { publish: "messages/events/room=7", options: { qos: 1 }, filters: ["messages/devicebound/#", ...HUB_FILTERS] },
  },
  {
    name: "Azure DPS",
    preset: azureDps,
    double: () => dpsDouble(ID),
    usual: {
      ...HUB,
      broker: host("global.azure-devices-provisioning.net"),
      username: "0ne00000001/registrations/{id}/api-version=2019-03-31",
    },
    slips: [
      ["another port", { broker: { host: "global.azure-devices-provisioning.net", port: 443 } }, "port 8883"],
      ["any version", { protocolVersion: "auto" }, "protocol version 4"],
      ["a hub's user name", { username: HUB_USER }, 'username: "ID_SCOPE/registrations/{id}/api-version=2019-03-31"'],
      ["the authority's topics", { enrolment: true }, "only with enrolment: false"],
    ],
    publishes: [
      ["a topic of one's own", "up/x", "1", { qos: 1 }, "only topics below $dps/registrations/", "pending"],
      ["QoS 2", { absolute: "$dps/registrations/PUT/iotdps-register/?$rid=1" }, "{}", { qos: 2 }, "at most QoS 1", "pending"],
    ],
    subscriptions: [["elsewhere", "down/#", {}, "only topics below $dps/registrations/", "pending"]],
    lives: {
      publish: { absolute: "$dps/registrations/PUT/iotdps-register/?$rid=1" },
      options: { qos: 1 },
      filters: [{ absolute: "$dps/registrations/res/#" }],
    },
  },
  {
    name: "HiveMQ Cloud",
    preset: hiveMqCloud,
    double: hiveMqDouble,
    usual: { broker: host("0123abcd.s1.eu.hivemq.cloud"), ...PASSWORD },
    slips: [
      ["the port of its WebSocket", { broker: { host: "0123abcd.s1.eu.hivemq.cloud", port: 8884 } }, "port 8883"],
      ["an address", { broker: host("192.0.2.1") }, "a host name instead of an address"],
    ],
    publishes: [],
    subscriptions: [],
    lives: { publish: "up/x", options: { qos: 1, retain: true }, filters: filters(20) },
  },
  {
    name: "EMQX Serverless",
    preset: emqxServerless,
    double: emqxDouble,
    usual: { broker: host("q0123456.ala.eu-central-1.emqxsl.com"), ...PASSWORD },
    slips: [
      ["an address", { broker: host("192.0.2.1") }, "a host name instead of an address"],
      ["an IPv6 address", { broker: host("2001:db8::1") }, "a host name instead of an address"],
      ["a port without TLS", { broker: { host: "q0123456.emqxsl.com", port: 1_883 } }, "port 8883"],
    ],
    publishes: [["a packet of more than 1 MB", "up/x", "x".repeat(1_048_560), { qos: 1 }, "at most 1048576 bytes in a packet", "pending"]],
    subscriptions: [["of eleven levels", "3/4/5/6/7/8/9/10/11", { qos: 1 }, "at most 10 levels in a subscription", "UNSPECIFIED_ERROR"]],
    lives: { publish: "up/x", options: { qos: 1, retain: true }, filters: filters(10) },
  },
  {
    name: "ThingsBoard",
    preset: thingsBoard,
    double: () => thingsBoardDouble(TOKEN),
    usual: {
      broker: host("mqtt.thingsboard.cloud"),
      topicBase: "v1/devices/me",
      ...PASSWORD,
      login: () => ({ username: TOKEN, password: "p" }),
    },
    slips: [["the authority's topics", { credential: undefined, login: undefined } as object, "only with enrolment: false"]],
    publishes: [
      ["QoS 2", "telemetry", "{}", { qos: 2 }, "at most QoS 1", "pending"],
      ["a topic of one's own", { absolute: "up/x" }, "1", { qos: 1 }, "only topics below v1/devices/me/, v1/gateway/ and v2/", "pending"],
      ["more than 64 KiB", "telemetry", "x".repeat(65_537), { qos: 1 }, "at most 65536 bytes in a message", "pending"],
    ],
    subscriptions: [
      ["to another device's topics", { absolute: "up/#" }, {}, "only topics below v1/devices/me/, v1/gateway/ and v2/", "pending"],
    ],
    lives: { publish: "telemetry", options: { qos: 1 }, filters: ["rpc/request/+", "attributes"] },
  },
  {
    name: "Home Assistant",
    preset: homeAssistant,
    double: () => homeAssistantDouble([]),
    usual: { broker: host("homeassistant.example.com"), ...PASSWORD },
    slips: [],
    publishes: [
      [
        "a discovery topic with a dot",
        discovery("sensor/meter.7"),
        "{}",
        { qos: 1 },
        "letters, digits, _ and - in a discovery topic",
        "resolved",
      ],
      [
        "a discovery message that goes",
        discovery("sensor/m7"),
        '{"unique_id":"m7"}',
        { qos: 1 },
        "retained discovery messages",
        "resolved",
      ],
      ["no JSON", discovery("sensor/m7"), "on", { qos: 1, retain: true }, "a JSON object as discovery message", "resolved"],
      ["a list", discovery("sensor/m7"), "[]", { qos: 1, retain: true }, "a JSON object as discovery message", "resolved"],
      ["no unique_id", discovery("sensor/m7"), "{}", { qos: 1, retain: true }, "unique_id in a discovery message", "resolved"],
      [
        "a device without an origin",
        discovery("device/m7"),
        '{"device":{},"components":{}}',
        { qos: 1, retain: true },
        "device, origin and components in a discovery message",
        "resolved",
      ],
    ],
    subscriptions: [],
    lives: {
      publish: discovery("sensor/meter-7/power"),
      payload: '{"uniq_id":"meter-7-power","state_topic":"devices/sensor-1/up/power"}',
      options: { qos: 1, retain: true },
      filters: [{ absolute: "homeassistant/status" }],
    },
  },
];

function discovery(place: string): DeviceTopic {
  return { absolute: `homeassistant/${place}/config` };
}

async function started(config: DeviceConfig, double: Behaviour): Promise<{ world: World; device: Device }> {
  const world = await World.provisioned();
  world.dialer.usually = double;
  const device = new Device(config, world.platform);
  device.listen((event) => world.events.push(event));
  device.start();
  await world.pass(0);
  return { world, device };
}

async function refusal(attempt: () => unknown): Promise<unknown> {
  try {
    await attempt();
  } catch (error) {
    return error;
  }
  throw new Error("accepted");
}

/** What the desk says, held to the section of the page. */
function onThePage(error: unknown, name: string): string {
  expect(error).toBeInstanceOf(HawserError);
  const { code, message } = error as HawserError;
  expect(code).toBe("BEYOND_BROKER_LIMIT");
  expect(message.startsWith(`${name}: `)).toBe(true);
  const words = message.slice(name.length + 2).replace(/ \(got .*$/s, "");
  const section = PAGE.split(/^### /m).find((one) => one.startsWith(`${name}\n`)) ?? "";
  expect(section.replace(/`/g, "").replace(/\s+/g, " ")).toContain(words);
  return words;
}

describe.each(CASES)("With the preset for $name", ({ name, preset, double, usual, slips, publishes, subscriptions, lives }) => {
  const config: DeviceConfig = { outbox: { maxBytes: 4_000_000 }, ...usual, preset };

  for (const [what, change, words] of slips)
    it(`${what} is refused at construction`, async () => {
      const world = await World.provisioned();
      expect(onThePage(await refusal(() => new Device({ ...config, ...change }, world.platform)), name)).toBe(words);
    });

  for (const [what, topic, payload, options, words, fate] of publishes)
    it(`a publish with ${what} is refused, and without the preset is ${fate}`, async () => {
      const { world, device } = await started(config, double());
      expect(onThePage(await refusal(() => device.publish(topic, payload, options)), name)).toBe(words);
      expect(world.dialer.last.of("publish")).toEqual([]);
      expect(await fateOf((bare) => bare.publish(topic, payload, options))).toBe(fate);
    });

  for (const [what, filter, options, words, fate] of subscriptions)
    it(`a subscription ${what} is refused, and without the preset is ${fate}`, async () => {
      const { device } = await started(config, double());
      expect(onThePage(await refusal(() => device.subscribe(filter, options)), name)).toBe(words);
      expect(await fateOf((bare) => bare.subscribe(filter, options).granted)).toBe(fate);
    });

  /** What becomes of it without the preset. */
  async function fateOf(attempt: (device: Device) => Promise<unknown>): Promise<string> {
    const { world, device } = await started({ outbox: { maxBytes: 4_000_000 }, ...usual }, double());
    const outcome = watch(attempt(device));
    await world.pass(0);
    return outcome.state;
  }

  it("a device within the limits lives there", async () => {
    const { world, device } = await started(config, double());
    const granted = lives.filters.map((filter) => watch(device.subscribe(filter, { qos: 1 }).granted));
    const sent = watch(device.publish(lives.publish, lives.payload ?? "1", lives.options));
    await world.pass(0);
    expect([sent.state, ...new Set(granted.map(({ state }) => state))]).toEqual(["resolved", "resolved"]);
    expect(world.of("disconnected")).toEqual([]);
    expect(device.status.state).toBe("online");
  });
});

it("EMQX Serverless's eleventh subscription is refused, and the same filter again is not counted", async () => {
  const { device } = await started({ broker: host("q.emqxsl.com"), preset: emqxServerless, ...PASSWORD }, emqxDouble());
  for (const filter of filters(10)) device.subscribe(filter);
  expect(await refusal(() => device.subscribe("down/3"))).toMatchObject({ code: "ALREADY_SUBSCRIBED" });
  expect(onThePage(await refusal(() => device.subscribe("down/10")), "EMQX Serverless")).toBe("at most 10 subscriptions");
});

it("a device asks DPS for its hub by the preset alone", async () => {
  const { usual } = CASES.find(({ name }) => name === "Azure DPS")!;
  const { world, device } = await started({ ...usual, preset: azureDps }, dpsDouble(ID));
  const answers: string[] = [];
  const read = async (): Promise<void> => {
    for await (const { topic, payload } of device.subscribe({ absolute: "$dps/registrations/res/#" })) {
      answers.push(Buffer.from(payload).toString());
      if (topic.includes("/202/"))
        await device.publish({ absolute: "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=op-1" }, "");
    }
  };
  void read();
  void device.publish({ absolute: "$dps/registrations/PUT/iotdps-register/?$rid=1" }, JSON.stringify({ registrationId: ID }));
  await world.pass(0);
  expect(answers.at(-1)).toContain('"assignedHub":"hub.azure-devices.net"');
});

it("a certificate without a password gives IoT Hub the user name of the template", async () => {
  const { world } = await started({ ...HUB, preset: azureIotHub }, iotHubDouble(ID));
  const [connect] = world.dialer.last.of("connect");
  expect([connect?.["username"], connect?.["password"]]).toEqual([HUB_USER.replace("{id}", ID), undefined]);
});

it("ThingsBoard's token goes without a password, and no other broker's user name does", async () => {
  const login = (): { username: string } => ({ username: TOKEN });
  const { usual } = CASES.find(({ name }) => name === "ThingsBoard")!;
  const { device } = await started({ ...usual, preset: thingsBoard, login }, thingsBoardDouble(TOKEN));
  expect(device.status.state).toBe("online");
  const other = await started({ ...usual, login }, thingsBoardDouble(TOKEN));
  expect(other.world.dialer.peers).toEqual([]);
});

it("what Home Assistant would pass over never reaches it, and an entity is removed by an empty message", async () => {
  const entities: string[] = [];
  const { usual } = CASES.find(({ name }) => name === "Home Assistant")!;
  const { world, device } = await started({ ...usual, preset: homeAssistant }, homeAssistantDouble(entities));
  const sent = ['{"unique_id":"m7"}', ""].map((payload) =>
    watch(device.publish(discovery("sensor/m7"), payload, { qos: 1, retain: true })),
  );
  await world.pass(0);
  expect([entities, ...sent.map(({ state }) => state)]).toEqual([["homeassistant/sensor/m7/config"], "resolved", "resolved"]);
});

it("spare brokers are held to the preset too", async () => {
  const world = await World.provisioned();
  const spares = [{ host: "ns2.ts.eventgrid.azure.net", port: 443 }];
  const attempt = (): unknown => new Device({ broker: host("ns.ts.eventgrid.azure.net"), spares, preset: azureEventGrid }, world.platform);
  expect(onThePage(await refusal(attempt), "Azure Event Grid")).toBe("port 8883");
});

it("limits of one's own make a preset, and what they leave out is free", () => {
  const own = brokerPreset({ broker: "ours", maximumQos: 0 });
  own.check({ broker: { host: "b", port: 1 } });
  expect([own.beyond("a", { retain: true, payload: "x" }), own.beyond("a", { qos: 1 })?.message]).toEqual([
    undefined,
    "ours: at most QoS 0 (got 1)",
  ]);
});
