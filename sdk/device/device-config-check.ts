/** Whether a device's configuration can work at all: what cannot is told at construction, by its name. */
import type { BackoffPolicy } from "../backoff.js";
import type { DeviceConfig, PasswordCredential } from "./device.js";
import { HawserError } from "../errors.js";
import { isId } from "../identity/device-id.js";
import type { Enrolment } from "../identity/enrolment-port.js";
import { isTopicBase } from "../identity/device-topics.js";
import type { TokenOptions } from "../identity/token.js";
import { OUTBOX_RULES, UNCLAIMED_RULES, WILL_RULES, type OutboxOptions, type Will } from "../mqtt/contract/options.js";
import { binary, checkOptions, flag, hook, host, milliseconds, oneOf, text, whole, type Rule, type Rules } from "../checks/option-rules.js";
import type { Endpoint, Platform } from "../platform.js";
import { DEFAULT_PATIENCE, type RecoveryPatience } from "../supervisor/credential-ladder.js";
import type { Login } from "../supervisor/supervisor.js";

const DAY_MS = 86_400_000;

/** As long as the engine on a chip has room for. */
const alpnName: Rule = (value) =>
  typeof value === "string" && /^[!-~]{1,31}$/.test(value) ? undefined : 'an ALPN name of 1 to 31 ASCII characters, such as "mqtt"';

const ENDPOINT: Rules<Endpoint> = {
  host,
  port: whole(1, 65_535),
  serverName: host,
  alpn: alpnName,
  validAtMs: milliseconds(Number.MAX_SAFE_INTEGER),
};

const OUTBOX: Rules<OutboxOptions & { persistent?: boolean }> = { ...OUTBOX_RULES, persistent: flag };

const WILL: Rules<Will> = {
  ...WILL_RULES,
  topic: (value) => (isOwnTopic(value) ? undefined : `a topic below the device's own, such as "up/status"`),
};

const BACKOFF: Rules<BackoffPolicy> = {
  baseMs: milliseconds(DAY_MS),
  capMs: milliseconds(DAY_MS),
  floorMs: milliseconds(DAY_MS),
  stableAfterMs: milliseconds(DAY_MS),
};

const WEEK_MS = 7 * DAY_MS;
const PATIENCE: Rules<RecoveryPatience> = {
  refusals: whole(1, 1_000),
  minimumMs: milliseconds(WEEK_MS),
  maximumMs: milliseconds(WEEK_MS),
  suspicionMs: milliseconds(WEEK_MS),
  believeUnprotected: flag,
};

const TOKEN: Rules<TokenOptions> = { audience: text, lifetimeSeconds: whole(60, 86_400), username: text };

const brokerNames: Rule = (value) => (Array.isArray(value) && value.every(isBrokerName) ? undefined : 'a list of "host:port" texts');

const CREDENTIAL: Rules<PasswordCredential> = {
  kind: oneOf("password"),
  id: (value) => (typeof value === "string" && isId(value) ? undefined : "1 to 64 letters, digits, '.', '_' and '-'"),
  trustAnchors: (value) => (isAnchors(value) ? undefined : "a list of at least one DER certificate"),
};

const CONFIG: Rules<DeviceConfig> = {
  broker: ENDPOINT,
  spares: (value) => (Array.isArray(value) ? undefined : "a list of { host, port }"),
  preset: (value) => (isPreset(value) ? undefined : "a preset of hawser/presets, such as awsIotCore"),
  credential: CREDENTIAL,
  enrolment: (value) => hook((value as Partial<Enrolment> | null)?.request) && flag(value) && "true, false or { request }",
  recovery: ENDPOINT,
  protocolVersion: oneOf(4, 5, "auto"),
  keepAliveSeconds: whole(5, 65_535),
  ackTimeoutMs: whole(5_000, 3_600_000),
  sessionExpirySeconds: whole(0, 0xffff_ffff),
  maximumPacketSizeBytes: whole(1_024, 268_435_460),
  inboundBytes: whole(1_024, 0x4000_0000),
  heldForMs: whole(0, 86_400_000),
  messagesWithConnect: whole(0, 20),
  clientId: (value) => (isClientId(value) ? undefined : 'a text of 4 to 200 characters with "{id}"'),
  username: (value) => (typeof value === "string" && value !== "" ? text(value) : "a text"),
  identityBase: (value) => (isTopicBase(value) && value.includes("{id}") ? undefined : `a topic with "{id}" and without wildcards`),
  topicBase: (value) => (isTopicBase(value) ? undefined : `a topic without wildcards, such as "sites/b1/{id}"`),
  will: WILL,
  outbox: OUTBOX,
  unclaimed: UNCLAIMED_RULES,
  onSessionLost: oneOf("report", "resend"),
  backoff: BACKOFF,
  recoveryPatience: PATIENCE,
  connectTimeoutMs: whole(1, 3_600_000),
  buildTimeMs: milliseconds(Number.MAX_SAFE_INTEGER),
  redirects: brokerNames,
  login: hook,
  token: TOKEN,
};

/** What a device without a certificate cannot have, and why. */
const NEEDS_CERTIFICATE = ["recovery", "recoveryPatience", "token", "enrolment"] as const;

const LOGIN: Rules<Login> = { username: text, password: binary };

const PORTS: readonly (keyof Platform)[] = ["clock", "scheduler", "random", "dialer", "keyStore", "chains", "storage", "log"];

/** @throws HawserError `BAD_CONFIG`, which names the option and what is allowed */
export function checkConfig(config: DeviceConfig): void {
  checkOptions(config, CONFIG, badConfig);
  // The types want it; plain JavaScript does not know them.
  const { broker, recovery, will, token } = config as Partial<DeviceConfig>;
  if (broker === undefined) throw badConfig("broker", 'is missing: use { host: "mqtt.example.com", port: 8883 }');
  checkComplete("broker", broker, ["host", "port"]);
  for (const spare of config.spares ?? []) {
    checkOptions(spare, ENDPOINT, badConfig, "spares.");
    checkComplete("spares", spare, ["host", "port"]);
    config.preset?.check({ ...config, broker: spare });
  }
  if (recovery !== undefined) checkComplete("recovery", recovery, ["host", "port"]);
  if (will !== undefined) checkComplete("will", will, ["topic", "payload"]);
  if (token !== undefined) checkComplete("token", token, ["audience", "lifetimeSeconds"]);
  checkFactors(config);
  config.preset?.check(config);
  const { minimumMs, maximumMs } = { ...DEFAULT_PATIENCE, ...config.recoveryPatience };
  if (maximumMs < minimumMs) throw badConfig("recoveryPatience.maximumMs", `must be at least minimumMs, ${minimumMs} (got ${maximumMs})`);
}

/** What the device signs in with must be there, and nothing that contradicts it. */
function checkFactors(config: DeviceConfig): void {
  const { credential, enrolment, recovery, login } = config;
  // Over the pre-shared key a device can do no more than ask Hawser's authority.
  if ((enrolment ?? true) !== true && recovery !== undefined) {
    throw badConfig("recovery", "must be left out without enrolment: true");
  }
  if (credential === undefined) return;
  checkComplete("credential", credential, ["kind", "id", "trustAnchors"]);
  if (login === undefined) throw badConfig("login", "is missing: it gives the password");
  const odd = NEEDS_CERTIFICATE.find((name) => config[name] !== undefined && config[name] !== false);
  if (odd !== undefined) throw badConfig(odd, "must be left out with a password as credential");
}

/** @throws HawserError `BAD_CONFIG` */
export function checkPlatform(platform: Platform): void {
  const given = platform as Partial<Platform> | undefined;
  const missing = PORTS.find((port) => given?.[port] === undefined);
  if (missing !== undefined)
    throw new HawserError(
      "BAD_CONFIG",
      `the platform has no ${missing}`,
      "Pass a platform as the second argument, e.g. nodePlatform(...).",
    );
}

/**
 * What the application's `login` returned.
 * @param onlyFactor what alone proves who the device is: without it, it would sign in as nobody
 * @throws HawserError `BAD_CONFIG`
 */
export function checkLogin(login: Login, onlyFactor?: keyof Login): Login {
  if ("then" in login) throw badConfig("login", "must return the user name and password, not a promise");
  checkOptions(login, LOGIN, badConfig, "login().");
  if (onlyFactor && (login[onlyFactor] ?? "").length === 0) throw badConfig(`login().${onlyFactor}`, "is missing");
  return login;
}

/** Whether a topic is relative to the device's own. One copied from the broker's side would be published below them, where nobody looks. */
export function isOwnTopic(topic: unknown): boolean {
  return typeof topic === "string" && topic !== "" && !/^(\/|\$|devices\/)/.test(topic);
}

/** Whether a topic may be given to a device: relative to its base, or absolute. */
export function isDeviceTopic(topic: unknown): boolean {
  if (typeof topic !== "object" || topic === null) return isOwnTopic(topic);
  const { absolute } = topic as { absolute?: unknown };
  return typeof absolute === "string" && absolute !== "" && !absolute.startsWith("$SYS");
}

function isClientId(value: unknown): boolean {
  return typeof value === "string" && text(value) === undefined && value.length <= 200 && value.includes("{id}");
}

function isBrokerName(name: unknown): boolean {
  if (typeof name !== "string") return false;
  const colon = name.lastIndexOf(":");
  const port = Number(name.slice(colon + 1));
  return (
    colon > 0 && Number.isInteger(port) && port >= 1 && port <= 65_535 && host(name.slice(0, colon).replace(/^\[|\]$/g, "")) === undefined
  );
}

function isPreset(preset: unknown): boolean {
  return typeof preset === "object" && preset !== null && "beyond" in preset;
}

function isAnchors(anchors: unknown): boolean {
  return Array.isArray(anchors) && anchors.length > 0 && anchors.every((anchor) => anchor instanceof Uint8Array);
}

function checkComplete(name: string, given: object, wanted: readonly string[]): void {
  const missing = wanted.find((one) => (given as Record<string, unknown>)[one] === undefined);
  if (missing !== undefined) throw badConfig(`${name}.${missing}`, "is missing");
}

function badConfig(name: string, what: string): HawserError {
  return new HawserError("BAD_CONFIG", `${name} ${what}`, "See DeviceConfig for the allowed values.");
}
