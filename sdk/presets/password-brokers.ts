import { brokerPreset, type BrokerPreset, type Wanted } from "./broker-preset.js";

/** HiveMQ Cloud with user name and password. What else it wants of you: docs/any-broker.md. */
export const hiveMqCloud: BrokerPreset = brokerPreset({
  broker: "HiveMQ Cloud",
  ports: { 8883: undefined },
  factor: "password",
  needsServerName: true,
});

/** EMQX Serverless, which takes no client certificates. What else it wants of you: docs/any-broker.md. */
export const emqxServerless: BrokerPreset = brokerPreset({
  broker: "EMQX Serverless",
  ports: { 8883: undefined },
  factor: "password",
  needsServerName: true,
  maximumPacketBytes: 1_048_576,
  maximumSubscriptions: 10,
  maximumFilterLevels: 10,
});

/** A device of ThingsBoard: access token as user name, password or certificate. What else it wants of you: docs/any-broker.md. */
export const thingsBoard: BrokerPreset = brokerPreset({
  broker: "ThingsBoard",
  takesEnrolment: false,
  tokenIsUsername: true,
  maximumQos: 1,
  maximumPayloadBytes: 65_536,
  topics: {
    names: /^v1\/(?:devices\/me|gateway)\/.|^v2\/./,
    filters: /^v1\/(?:devices\/me|gateway)\/.|^v2\/./,
    form: "only topics below v1/devices/me/, v1/gateway/ and v2/",
  },
});

/** The beginning of every topic of MQTT discovery, unless somebody set `discovery_prefix`. */
const DISCOVERY = "homeassistant/";
const DISCOVERY_TOPIC = /^homeassistant\/\w+\/(?:[\w-]+\/)?[\w-]+\/config$/;

/** Home Assistant, which makes entities of what a device says about itself at `homeassistant/.../config`. More: docs/any-broker.md. */
export const homeAssistant: BrokerPreset = brokerPreset({
  broker: "Home Assistant",
  factor: "password",
  also: (topic, wanted) =>
    topic.startsWith(DISCOVERY) && topic.endsWith("/config") && !wanted.filters ? ofDiscovery(topic, wanted) : undefined,
});

function ofDiscovery(topic: string, { payload = "", retain = false }: Wanted): readonly [limit: string, got: string] | undefined {
  if (!DISCOVERY_TOPIC.test(topic)) return ["letters, digits, _ and - in a discovery topic", topic.slice(0, 80)];
  if (!retain) return ["retained discovery messages", "no retain"];
  // An empty one removes the entity. Bytes are the application's own affair: no decoder comes with a preset.
  if (typeof payload !== "string" || payload === "") return undefined;
  let found: unknown;
  try {
    found = JSON.parse(payload);
  } catch {
    return ["a JSON object as discovery message", payload.slice(0, 40)];
  }
  if (typeof found !== "object" || found === null || Array.isArray(found))
    return ["a JSON object as discovery message", payload.slice(0, 40)];
  if (/^homeassistant\/(?:device_automation|tag)\//.test(topic)) return undefined;
  const isDevice = topic.startsWith(`${DISCOVERY}device/`);
  const missing = (isDevice ? DEVICE_KEYS : ENTITY_KEYS).find((keys) => !keys.some((key) => key in found));
  return missing && [`${isDevice ? "device, origin and components" : "unique_id"} in a discovery message`, `no ${missing[0] ?? ""}`];
}

/** Each with its abbreviation. */
const DEVICE_KEYS = [
  ["device", "dev"],
  ["origin", "o"],
  ["components", "cmps"],
];
const ENTITY_KEYS = [["unique_id", "uniq_id"]];
