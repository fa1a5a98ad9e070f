/** The faults a proxy can put into a connection, in Toxiproxy's words where it has them; milliseconds, bytes, KB/s. */
import { HawserError } from "../../sdk/errors.js";

export type ToxicStreamName = "upstream" | "downstream";

export interface Toxic {
  readonly name: string;
  readonly type: ToxicType;
  /** `downstream`: what the broker sends to the device. */
  readonly stream: ToxicStreamName;
  /** The share of connections (0..1) that it works on. */
  readonly toxicity: number;
  readonly attributes: Readonly<Record<string, number | string | boolean>>;
}

type Rule =
  | { readonly least: number; readonly most: number; readonly usual: number }
  | { readonly oneOf: readonly (string | boolean)[]; readonly usual: string | boolean };

const HOUR_MS = 3_600_000;
const duration = (usual = 0): Rule => ({ least: 0, most: HOUR_MS, usual });
const share = (usual: number): Rule => ({ least: 0, most: 1, usual });
const PACKETS = [
  "connect",
  "connack",
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "subscribe",
  "suback",
  "unsubscribe",
  "unsuback",
  "pingreq",
  "pingresp",
  "disconnect",
] as const;
/** Which packets of a kind: each by chance, after the first `skip`, at most `count` (0: no bound). */
const some = (packet: (typeof PACKETS)[number]): Readonly<Record<string, Rule>> => ({
  packet: { oneOf: PACKETS, usual: packet },
  probability: share(1),
  skip: { least: 0, most: 1e9, usual: 0 },
  count: { least: 0, most: 1e9, usual: 0 },
});

const RULES = {
  latency: { latency: duration(), jitter: duration() },
  bandwidth: { rate: { least: 0, most: 1e9, usual: 0 } },
  slow_close: { delay: duration() },
  timeout: { timeout: duration() },
  reset_peer: { timeout: duration() },
  slicer: { average_size: { least: 1, most: 1e6, usual: 64 }, size_variation: { least: 0, most: 1e6, usual: 0 }, delay: duration() },
  limit_data: { bytes: { least: 0, most: 1e12, usual: 0 } },
  // Beyond Toxiproxy.
  stall: { probability: share(0.01), stall: duration(1_000) },
  half_open: {},
  captive_portal: {},
  mqtt_drop: some("puback"),
  mqtt_duplicate: some("puback"),
  mqtt_delay: { ...some("connack"), delay: duration(1_000) },
  mqtt_session_present: { value: { oneOf: [true, false], usual: false } },
  mqtt_disconnect: { ...some("publish"), reason: { least: 0, most: 255, usual: 0x8b } },
} as const satisfies Record<string, Readonly<Record<string, Rule>>>;

export type ToxicType = keyof typeof RULES;

export const TOXIC_TYPES = Object.keys(RULES) as ToxicType[];

/**
 * Checks what a client or a file asks for, and fills in what it leaves out.
 * @throws HawserError `BAD_TOXIC`
 */
export function readToxic(value: unknown): Toxic {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("a toxic must be an object");
  const {
    type,
    stream = "downstream",
    toxicity = 1,
    attributes = {},
    name = `${String(type)}_${String(stream)}`,
    ...rest
  } = value as Record<string, unknown>;
  const [stray] = Object.keys(rest);
  if (stray !== undefined) throw bad(`a toxic has no field ${JSON.stringify(stray)}`);
  if (typeof type !== "string" || !Object.hasOwn(RULES, type))
    throw bad(`there is no toxic type ${JSON.stringify(type) ?? "undefined"}`, `Use one of: ${TOXIC_TYPES.join(", ")}.`);
  if (stream !== "upstream" && stream !== "downstream") throw bad("stream must be upstream or downstream");
  if (typeof toxicity !== "number" || !(toxicity >= 0 && toxicity <= 1)) throw bad("toxicity must be from 0 to 1");
  if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name)) throw bad("a toxic's name must be 1 to 64 letters, digits, _, . or -");
  if (typeof attributes !== "object" || attributes === null) throw bad("attributes must be an object");
  return {
    name,
    type: type as ToxicType,
    stream,
    toxicity,
    attributes: readAttributes(type as ToxicType, attributes as Record<string, unknown>),
  };
}

function readAttributes(type: ToxicType, given: Record<string, unknown>): Toxic["attributes"] {
  const rules: Readonly<Record<string, Rule>> = RULES[type];
  for (const key of Object.keys(given))
    if (!Object.hasOwn(rules, key))
      throw bad(`${type} has no attribute ${JSON.stringify(key)}`, `It has: ${Object.keys(rules).join(", ") || "none"}.`);
  return Object.fromEntries(
    Object.entries(rules).map(([key, rule]) => {
      const value = given[key] ?? rule.usual;
      if ("oneOf" in rule) {
        if (!rule.oneOf.includes(value as string | boolean)) throw bad(`${type}: ${key} must be one of ${rule.oneOf.join(", ")}`);
        return [key, value as string | boolean];
      }
      if (typeof value !== "number" || !(value >= rule.least && value <= rule.most))
        throw bad(`${type}: ${key} must be from ${rule.least} to ${rule.most}`);
      return [key, value];
    }),
  );
}

function bad(what: string, next = "See: hawser sim proxy --help"): HawserError {
  return new HawserError("BAD_TOXIC", what, next);
}

export function numberOf(toxic: Toxic, key: string): number {
  return Number(toxic.attributes[key]);
}
