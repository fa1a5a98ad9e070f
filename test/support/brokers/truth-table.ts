/** Thousands of questions about access, put to the policy engine and to real brokers. Not part of the product. */
import type { MqttClient } from "mqtt";
import { PolicyEngine } from "../../../host-tools/policy/policy-engine.js";
import { parsePolicy } from "../../../host-tools/policy/policy-file.js";
import { directoryOf } from "../../../host-tools/policy/policy-model.js";
import type { Principal } from "../../../host-tools/policy/policy-model.js";

/** Every kind of right that a file without a clock can say. `root` may do everything: it is the tests' eye and hand. */
export function truthPolicyText(mtlsPort: number, extra = ""): string {
  return `
version: 1
name: truth
attributes:
  site: {}
  line: {}
listeners:
  mtls: { port: ${mtlsPort}, bind: 127.0.0.1, requires: [certificate] }
classes:
  sensor:
    base: devices/{id}
    channels:
      up: { topic: up/#, direction: up }
      down: { topic: down/#, direction: down }
      request: { topic: identity/request, direction: up, recovery: true }
      response: { topic: identity/response, direction: down, recovery: true }
  press:
    base: sites/{site}/{line}/{id}
    channels:
      state: { topic: state, direction: up }
      config: { topic: config/+, direction: down }
roles:
  sensor: { for: devices, class: sensor }
  press:
    for: devices
    class: press
    grants:
      - { allow: read, topics: ["sites/{site}/announcements/#"] }
  backend:
    grants:
      - { allow: read, channels: [sensor.up] }
      - { allow: write, channels: [sensor.down] }
  viewer:
    grants:
      - { allow: read, channels: [press.state], scope: { site: "{site}" } }
      - { allow: read, channels: [sensor.up], scope: { site: "{site}" } }
  root:
    grants:
      - { allow: readwrite, topics: ["#"] }
${extra}`;
}

export const DENIALS = `  guarded:
    grants:
      - { allow: readwrite, topics: ["tools/#", "Größe/+/é"] }
      - { deny: readwrite, topics: ["tools/locked/#", "tools/+/secret"] }
`;

const device = (name: string, role: string, attributes: Record<string, string> = {}): Principal => ({
  name,
  kind: "device",
  role,
  attributes,
  active: true,
  recoverable: true,
});
const client = (name: string, role: string, attributes: Record<string, string> = {}): Principal => ({
  name,
  kind: "client",
  role,
  attributes,
  active: true,
  recoverable: false,
});

export const TRUTH_NAMES: readonly Principal[] = [
  device("dev1", "sensor", { site: "b1" }),
  device("dev10", "sensor", { site: "b2" }),
  device("Dev1", "sensor"),
  device("a.b_c-d", "sensor", { site: "b1" }),
  device("press1", "press", { site: "b1", line: "l1" }),
  device("press2", "press", { site: "Größe", line: "l 2" }),
  client("backend", "backend"),
  client("view1", "viewer", { site: "b1" }),
  client("view0", "viewer"),
  client("root", "root"),
];

export function truthEngine(text: string, names: readonly Principal[] = TRUTH_NAMES): PolicyEngine {
  return new PolicyEngine(parsePolicy(text, "truth.yaml"), directoryOf(names));
}

/** Topic names: every device's own, its neighbours', other cases, other normal forms, empty levels, `$`. */
export function truthTopics(): string[] {
  const ids = [
    "dev1",
    "dev10",
    "Dev1",
    "DEV1",
    "a.b_c-d",
    "a/b_c-d",
    "press1",
    "press2",
    "backend",
    "view1",
    "nobody",
    "dev1 ",
    "%u",
    "%c",
    "{id}",
    "",
  ];
  const inDevice = [
    "up",
    "up/t",
    "up/a/b/c",
    "up/",
    "Up/t",
    "down/led",
    "down",
    "identity/request",
    "identity/response",
    "identity/request/x",
    "identity",
    "",
    "up/Größe",
    "up/ü",
  ];
  const presses = [
    "sites/b1/l1/press1",
    "sites/b2/l1/press1",
    "sites/b1/l2/press1",
    "sites/b1/l1/press2",
    "sites/Größe/l 2/press2",
    "sites/Gro\u0308\u00dfe/l 2/press2",
  ];
  const inPress = ["state", "state/x", "config/a", "config", "config/a/b"];
  const others = [
    "sites/b1/announcements/x",
    "sites/b2/announcements",
    "sites/b1/announcements",
    "sites/Größe/announcements/a/b",
    "tools/a",
    "tools",
    "tools/locked",
    "tools/locked/1",
    "tools/x/secret",
    "tools/x/secrets",
    "Größe/x/é",
    "Größe/x/e\u0301",
    "größe/x/é",
    "/",
    "//",
    "/devices/dev1/up/t",
    "devices",
    "devices/",
    "devices//up/t",
    "x",
    "$SYS/x",
    "$SYS/broker/uptime",
    "$other/x",
    "$CONTROL/dynamic-security/v1",
    "$share/g/x",
  ];
  return [
    ...new Set([
      ...ids.flatMap((id) => inDevice.map((rest) => `devices/${id}${rest === "" ? "" : `/${rest}`}`)),
      ...presses.flatMap((base) => inPress.map((rest) => `${base}/${rest}`)),
      ...others,
    ]),
  ];
}

/** Filters to subscribe to: the topics themselves, and wildcards wider, narrower and beside what somebody may read. */
export function truthFilters(topics: readonly string[]): string[] {
  const ids = ["dev1", "dev10", "Dev1", "a.b_c-d", "press1", "+", "nobody", "%u", "Größe"];
  const inDevice = [
    "#",
    "+",
    "+/#",
    "+/t",
    "up",
    "up/#",
    "up/+",
    "up/+/b/#",
    "up/a/+/c",
    "Up/#",
    "down/#",
    "down/+",
    "identity/#",
    "identity/+",
  ];
  const others = [
    "#",
    "+",
    "+/#",
    "+/+/#",
    "/+",
    "/#",
    "devices/#",
    "+/dev1/#",
    "+/dev1/down/x",
    "+/dev1/+/#",
    "devices/+/+/t",
    "sites/#",
    "sites/+/#",
    "sites/b1/#",
    "sites/b1/+",
    "sites/b1/+/+/state",
    "sites/b1/l1/+/state",
    "sites/b1/+/+/+",
    "sites/b2/+/+/state",
    "sites/+/+/+/state",
    "sites/+/+/+/#",
    "sites/b1/l1/press1/#",
    "sites/b1/l1/press1/+",
    "sites/b1/l1/press1/config/+",
    "sites/b1/l1/press1/config/#",
    "sites/b1/announcements/#",
    "sites/b1/announcements/+",
    "sites/b2/announcements/#",
    "sites/+/announcements/#",
    "sites/Größe/announcements/#",
    "sites/Gro\u0308\u00dfe/announcements/#",
    "tools/#",
    "tools/+",
    "tools/+/secret",
    "Größe/+/é",
    "Größe/#",
    "$SYS/#",
    "$SYS/+",
    "+/broker/uptime",
    "$other/#",
    "$share/g/devices/dev1/down/#",
    "$share/g/#",
  ];
  return [...new Set([...topics, ...ids.flatMap((id) => inDevice.map((rest) => `devices/${id}/${rest}`)), ...others])];
}

/** The engine's answers, `NAME ACTION TOPIC` to yes or no. */
export function engineAnswers(engine: PolicyEngine, topics: readonly string[], listener = "mtls"): Map<string, boolean> {
  const answers = new Map<string, boolean>();
  for (const { name } of engine.directory.all()) {
    for (const action of ["publish", "receive"] as const) {
      for (const topic of topics)
        answers.set(`${name} ${action} ${topic}`, engine.authorize({ name, listener, action, topic, atMs: Date.now() }).allowed);
    }
  }
  return answers;
}

/** Connects under a name: 5.0 where the broker tells a denial by a reason code. */
export type Connect = (name: string) => Promise<MqttClient>;

/**
 * Asks a broker that answers a denied publish with a reason code (MQTT 5.0): each name publishes to every topic; then `root` publishes to
 * every topic while all have subscribed to everything.
 */
export async function brokerAnswers(
  connect: Connect,
  names: readonly Principal[],
  topics: readonly string[],
  filtersOf: (name: string) => string[] = () => ["#", "$SYS/#", "$other/#"],
): Promise<Map<string, boolean>> {
  const answers = new Map<string, boolean>();
  const clients = new Map<string, MqttClient>();
  for (const { name } of names) clients.set(name, await connect(name));
  try {
    for (const [name, mqtt] of clients) {
      await Promise.all(topics.map(async (topic) => answers.set(`${name} publish ${topic}`, await isTaken(mqtt, topic))));
    }
    const got = new Map([...clients.keys()].map((name) => [name, new Set<string>()]));
    for (const [name, mqtt] of clients) {
      mqtt.on("message", (topic, payload) => {
        if (payload.toString() === "truth") got.get(name)?.add(topic);
      });
      // Where some filters are refused, the others are granted.
      await mqtt.subscribeAsync(filtersOf(name), { qos: 0 }).catch(() => undefined);
    }
    const root = clients.get("root");
    if (root === undefined) throw new Error("the truth table needs a root");
    await Promise.all(topics.map((topic) => isTaken(root, topic, "truth")));
    // What was sent to a client before this answer has arrived when the answer has.
    for (const mqtt of clients.values()) await mqtt.subscribeAsync("truth/end", { qos: 0 }).catch(() => undefined);
    for (const [name, topicsGot] of got) for (const topic of topics) answers.set(`${name} receive ${topic}`, topicsGot.has(topic));
    return answers;
  } finally {
    await Promise.all([...clients.values()].map((mqtt) => mqtt.endAsync(true)));
  }
}

async function isTaken(mqtt: MqttClient, topic: string, payload = "x"): Promise<boolean> {
  try {
    await mqtt.publishAsync(topic, payload, { qos: 1 });
    return true;
  } catch {
    return false;
  }
}

/** Questions that two tables answer differently, unless `isKnown` gives a reason. */
export function differences(
  expected: ReadonlyMap<string, boolean>,
  actual: ReadonlyMap<string, boolean>,
  isKnown: (question: string, expected: boolean) => boolean,
): string[] {
  return [...expected].flatMap(([question, answer]) =>
    actual.get(question) === answer || isKnown(question, answer)
      ? []
      : [`${question}: the policy says ${answer}, the broker ${actual.get(question)}`],
  );
}
