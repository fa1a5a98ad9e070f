/** A scenario, read from its file and checked as far as that goes without running it. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { Endpoint } from "../../../sdk/platform.js";
import type { FleetPlan, PublishProfile } from "../../../sim/fleet/fleet-plan.js";
import { readToxic, type Toxic } from "../../../sim/proxy/toxics.js";
import { SeededRandom } from "../../../sim/virtual/random.js";
import { idsOf } from "../fleet/fleet-identities.js";
import { COMMANDS_PER_SECOND, GROWTH_LIMIT, PUBLISH_LIMIT } from "../../../sim/program/program-plan.js";
import type { ProgramFlags } from "../fleet/own-program.js";
import type { SiteEngine } from "../fleet/fleet-site.js";
import { parseBrokerUrl, parseDurationMs, parseLifetimeMs, parsePositiveDurationMs } from "../flag-values.js";
import { readExpectation, type Expectation } from "./expectations.js";
import { ScenarioText } from "./scenario-text.js";

/** Durations are milliseconds, shares 0..1. */
export interface ScenarioFleet {
  readonly ids: readonly string[];
  readonly role: string;
  readonly startPerSecond: number;
  readonly profiles: readonly PublishProfile[];
  /** Of each device, over all profiles. */
  readonly publishEveryMs: number;
  readonly commandsPerSecond: number;
  readonly sleepers: number;
  readonly rebootsPerHour: number;
  readonly renewalsPerHour: number;
  readonly certificateLifetimeMs?: number;
  readonly recovery: boolean;
  readonly retryCapMs: number;
  readonly recoveryPatienceMs: number;
  readonly client: FleetPlan["client"];
  readonly workers?: number;
  /** Devices run this instead of `profiles`. */
  readonly program?: ProgramFlags;
}

export type Action =
  | { readonly kind: "broker"; readonly to: "down" | "up" | "restart" }
  | { readonly kind: "authority"; readonly to: "away" | "back" }
  | { readonly kind: "rollover" }
  | { readonly kind: "revoke"; readonly ids: readonly string[]; readonly certificateOnly: boolean }
  | { readonly kind: "renew"; readonly share: number }
  | { readonly kind: "reach"; readonly to: "down" | "up" }
  | { readonly kind: "names"; readonly resolve: boolean }
  | { readonly kind: "clock"; readonly aheadMs: number }
  | { readonly kind: "toxics"; readonly toxics: readonly Toxic[] };

export interface TimelineEvent {
  readonly name: string;
  readonly atMs: number;
  /** It ends again after this. */
  readonly forMs?: number;
  readonly action: Action;
  /** For an error about it. */
  readonly refuse: (what: string, next: string) => HawserError;
}

export interface Scenario {
  readonly name: string;
  readonly seed: string;
  readonly fleet: ScenarioFleet;
  readonly engine?: SiteEngine;
  /** A broker and CA of the user's. */
  readonly own?: { readonly url: Endpoint; readonly pskUrl?: Endpoint; readonly ca: string };
  readonly policyText?: string;
  readonly durationMs: number;
  readonly drainMs: number;
  readonly timeline: readonly TimelineEvent[];
  readonly expectations: readonly Expectation[];
  refuse(path: readonly (string | number)[], what: string, next: string): HawserError;
}

const DEFAULT_RETRY_CAP_MS = 120_000;
const DEFAULT_PATIENCE_MS = 5_000;
const DEFAULT_DRAIN_MS = 60_000;

/**
 * @param seed takes the place of the file's
 * @throws HawserError `SCENARIO_INVALID` naming file and line; the file system's own
 */
export function readScenario(file: string, seed: string): Scenario {
  const text = new ScenarioText(file, readFileSync(file, "utf8"));
  const values = text.values() as unknown as FileValues;
  const refuse = (path: readonly (string | number)[], what: string, next: string): HawserError => text.error(path, what, next);
  const drawn = seed || values.seed || "";
  const fleet = readFleet(values.fleet, dirname(file), refuse);
  const { engine, url, pskUrl, ca } = values.broker ?? {};
  if ((url === undefined) !== (ca === undefined))
    throw refuse(["broker"], "url and ca belong together", "Give both, or neither for a passing broker and CA.");
  if (url !== undefined && engine !== undefined) throw refuse(["broker", "engine"], "is for a passing broker", "Leave it out beside url.");
  if (url === undefined && pskUrl !== undefined) throw refuse(["broker", "pskUrl"], "is for a broker of yours", "Give url and ca too.");
  const timeline = (values.timeline ?? []).map((event, index) => readEvent(event, index, fleet.ids, drawn, refuse));
  for (const [index, { name }] of timeline.entries()) {
    if (timeline.findIndex((other) => other.name === name) !== index)
      throw refuse(["timeline", index], `there is another event ${name}`, "Give each its own name.");
  }
  const names = new Map(timeline.map(({ name, forMs }) => [name, forMs !== undefined]));
  return {
    name: values.name,
    seed: drawn,
    fleet,
    timeline,
    refuse,
    ...(engine === undefined ? {} : { engine }),
    ...(url === undefined || ca === undefined
      ? {}
      : {
          own: {
            url: parsed(() => parseBrokerUrl(url), ["broker", "url"], refuse),
            ca: resolve(dirname(file), ca),
            ...(pskUrl === undefined ? {} : { pskUrl: parsed(() => parseBrokerUrl(pskUrl), ["broker", "pskUrl"], refuse) }),
          },
        }),
    ...(values.policy === undefined ? {} : { policyText: readFileSync(resolve(dirname(file), values.policy), "utf8") }),
    durationMs: parsed(() => parsePositiveDurationMs(values.duration), ["duration"], refuse),
    drainMs: values.drain === undefined ? DEFAULT_DRAIN_MS : parsed(() => parsePositiveDurationMs(values.drain ?? ""), ["drain"], refuse),
    expectations: values.expect.map((sentence, index) => parsed(() => readExpectation(sentence, names), ["expect", index], refuse)),
  };
}

interface FileValues {
  readonly name: string;
  readonly seed?: string;
  readonly fleet: FleetValues;
  readonly broker?: { readonly engine?: SiteEngine; readonly url?: string; readonly pskUrl?: string; readonly ca?: string };
  readonly policy?: string;
  readonly duration: string;
  readonly drain?: string;
  readonly timeline?: readonly EventValues[];
  readonly expect: readonly string[];
}

interface FleetValues {
  readonly devices: number;
  readonly ids?: string;
  readonly role?: string;
  readonly startPerSecond?: number;
  readonly publish?: {
    readonly topic?: string;
    readonly every?: string;
    readonly qos?: 0 | 1 | 2 | "mixed";
    readonly bytes?: readonly [number, number];
  };
  readonly commandsPerSecond?: number;
  readonly sleepers?: string;
  readonly rebootsPerHour?: number;
  readonly renewalsPerHour?: number;
  readonly certificateLifetime?: string;
  readonly recovery?: boolean;
  readonly retryCap?: string;
  readonly recoveryPatience?: string;
  readonly client?: FleetPlan["client"];
  readonly workers?: number;
  readonly program?: {
    readonly file: string;
    readonly sensors?: Readonly<Record<string, number | string>>;
    readonly press?: Readonly<Record<string, string>>;
    readonly commands?: readonly string[];
    readonly publishesPerSecond?: number;
    readonly growthKilobytes?: number;
  };
}

interface EventValues {
  readonly at: string;
  readonly for?: string;
  readonly name?: string;
  readonly broker?: "down" | "up" | "restart";
  readonly authority?: "away" | "back";
  readonly ca?: "rollover";
  readonly revoke?: string | readonly string[];
  readonly "shut-out"?: string | readonly string[];
  readonly renew?: string;
  readonly dns?: "down" | "up";
  readonly clock?: string;
  readonly network?: "down" | "up" | Readonly<Record<string, Readonly<Record<string, unknown>> | null>>;
}

type Refuse = Scenario["refuse"];

const SHARE = (text: string): number => Number(text.replace("%", "")) / 100;

function readFleet(values: FleetValues, folder: string, refuse: Refuse): ScenarioFleet {
  const ms = (text: string | undefined, usualMs: number, ...path: string[]): number =>
    text === undefined ? usualMs : parsed(() => parsePositiveDurationMs(text), ["fleet", ...path], refuse);
  const { topic = "telemetry", qos = 1, bytes = [64, 256], every } = values.publish ?? {};
  if (!/^[^+#\u0000/]+(\/[^+#\u0000/]+)*$/.test(topic) || topic === "pong")
    throw refuse(["fleet", "publish", "topic"], `${JSON.stringify(topic)} is not a topic below devices/{id}/up/`, "Write e.g. telemetry.");
  if (bytes[0] > bytes[1]) throw refuse(["fleet", "publish", "bytes"], "the least size is above the greatest", "Write e.g. [64, 256].");
  const publishEveryMs = ms(every, 1_000, "publish", "every");
  const levels = qos === "mixed" ? ([0, 1, 2] as const) : ([qos] as const);
  const fields = { temperature: { number: [-20, 60] as const }, battery: { integer: [0, 100] as const } };
  const { certificateLifetime } = values;
  if (values.program !== undefined && values.sleepers !== undefined)
    throw refuse(["fleet", "sleepers"], "a device that runs your program sleeps when the program says so", "Leave it out.");
  if (values.program !== undefined && values.client === "mqttjs")
    throw refuse(["fleet", "client"], "a program runs on the SDK", "Leave out client, or program.");
  return {
    ids: parsed(() => idsOf(values.ids ?? "fleet-{n}", values.devices), ["fleet", "ids"], refuse),
    role: values.role ?? "sensor",
    startPerSecond: values.startPerSecond ?? 100,
    publishEveryMs,
    profiles: levels.map((level) => ({
      topic,
      qos: level,
      everyMs: publishEveryMs * levels.length,
      jitter: 0.2,
      sizeBytes: bytes,
      fields,
    })),
    commandsPerSecond: values.commandsPerSecond ?? (values.program?.commands ? COMMANDS_PER_SECOND : 0),
    sleepers: values.sleepers === undefined ? 0 : SHARE(values.sleepers),
    rebootsPerHour: values.rebootsPerHour ?? 0,
    renewalsPerHour: values.renewalsPerHour ?? 0,
    ...(certificateLifetime === undefined ? {} : { certificateLifetimeMs: ms(certificateLifetime, 0, "certificateLifetime") }),
    recovery: values.recovery ?? true,
    retryCapMs: ms(values.retryCap, DEFAULT_RETRY_CAP_MS, "retryCap"),
    recoveryPatienceMs: ms(values.recoveryPatience, DEFAULT_PATIENCE_MS, "recoveryPatience"),
    client: values.client ?? "hawser",
    ...(values.workers === undefined ? {} : { workers: values.workers }),
    ...(values.program === undefined ? {} : { program: programFlags(values.program, folder) }),
  };
}

function programFlags(values: NonNullable<FleetValues["program"]>, folder: string): ProgramFlags {
  const pairs = (of: Readonly<Record<string, number | string>> = {}): string[] =>
    Object.entries(of).map(([name, value]) => `${name}=${value}`);
  return {
    program: resolve(folder, values.file),
    sensor: pairs(values.sensors),
    press: pairs(values.press),
    command: [...(values.commands ?? [])],
    publishLimit: values.publishesPerSecond ?? PUBLISH_LIMIT,
    growthLimit: values.growthKilobytes ?? GROWTH_LIMIT,
  };
}

const ACTIONS = ["broker", "authority", "ca", "revoke", "shut-out", "renew", "network", "dns", "clock"] as const;

function readEvent(values: EventValues, index: number, ids: readonly string[], seed: string, refuse: Refuse): TimelineEvent {
  const here = (...rest: string[]): (string | number)[] => ["timeline", index, ...rest];
  const given = ACTIONS.filter((key) => values[key] !== undefined);
  const [action] = given;
  if (action === undefined || given.length > 1)
    throw refuse(
      here(),
      given.length > 1 ? `${given.join(" and ")} in one event` : "nothing happens",
      `Give exactly one of: ${ACTIONS.join(", ")}.`,
    );
  const forMs = values.for === undefined ? undefined : parsed(() => parsePositiveDurationMs(values.for ?? ""), here("for"), refuse);
  const lasts =
    values.broker === "down" ||
    values.authority === "away" ||
    values.dns === "down" ||
    values.clock !== undefined ||
    (values.network !== undefined && values.network !== "up");
  if (forMs !== undefined && !lasts) throw refuse(here("for"), "this event is over at once", "Leave `for` out.");
  return {
    name: values.name ?? `event-${index + 1}`,
    atMs: parsed(() => parseDurationMs(values.at), here("at"), refuse),
    ...(forMs === undefined ? {} : { forMs }),
    action: readAction(action, values, here(action), ids, `${seed}/${index}`, refuse),
    refuse: (what, next) => refuse(here(action), what, next),
  };
}

function readAction(
  action: (typeof ACTIONS)[number],
  values: EventValues,
  path: (string | number)[],
  ids: readonly string[],
  seed: string,
  refuse: Refuse,
): Action {
  const { broker = "down", authority = "away", renew = "0%", network = "down" } = values;
  if (action === "broker") return { kind: "broker", to: broker };
  if (action === "authority") return { kind: "authority", to: authority };
  if (action === "ca") return { kind: "rollover" };
  if (action === "dns") return { kind: "names", resolve: values.dns === "up" };
  if (action === "clock") return { kind: "clock", aheadMs: parsed(() => parseShiftMs(values.clock ?? ""), path, refuse) };
  if (action === "renew") return { kind: "renew", share: SHARE(renew) };
  if (action === "revoke" || action === "shut-out")
    return { kind: "revoke", certificateOnly: action === "revoke", ids: chosen(values[action] ?? [], ids, seed, path, refuse) };
  if (typeof network === "string") return { kind: "reach", to: network };
  return {
    kind: "toxics",
    toxics: Object.entries(network).flatMap(([type, attributes]) => toxicsOf(type, attributes ?? {}, [...path, type], refuse)),
  };
}

function toxicsOf(
  type: string,
  { stream, toxicity, ...attributes }: Readonly<Record<string, unknown>>,
  path: (string | number)[],
  refuse: Refuse,
): Toxic[] {
  if (type.startsWith("mqtt_"))
    throw refuse(
      path,
      "a scenario's connections are TLS, and nobody in between can read their packets",
      "Use `hawser sim proxy --mqtt` before a plaintext listener.",
    );
  const streams = stream === undefined ? ["upstream", "downstream"] : [stream];
  return streams.map((one) =>
    parsed(() => readToxic({ type, stream: one, ...(toxicity === undefined ? {} : { toxicity }), attributes }), path, refuse),
  );
}

function chosen(
  who: string | readonly string[],
  ids: readonly string[],
  seed: string,
  path: (string | number)[],
  refuse: Refuse,
): readonly string[] {
  if (typeof who !== "string") {
    const stranger = who.find((id) => !ids.includes(id));
    if (stranger !== undefined)
      throw refuse(path, `${stranger} is not a device of this fleet`, `The fleet has ${ids[0] ?? ""} to ${ids.at(-1) ?? ""}.`);
    return who;
  }
  const random = new SeededRandom(`${seed}/chosen`);
  const drawn = ids.map((id) => ({ id, lot: random.fraction() })).sort((a, b) => a.lot - b.lot);
  return drawn.slice(0, Math.ceil(ids.length * SHARE(who))).map(({ id }) => id);
}

/** `+40d`, `-1h`, `+2y`. */
function parseShiftMs(text: string): number {
  const shiftMs = parseLifetimeMs(text.slice(1));
  return text.startsWith("-") ? -shiftMs : shiftMs;
}

/** Puts the line before what another reader says. */
function parsed<T>(read: () => T, path: readonly (string | number)[], refuse: Refuse): T {
  try {
    return read();
  } catch (error) {
    throw refuse(path, errorMessage(error), error instanceof HawserError ? error.nextStep : "");
  }
}
