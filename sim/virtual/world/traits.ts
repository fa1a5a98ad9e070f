/** What a seed decides about a world and each device in it, before anything happens. */
import type { OverflowPolicy } from "../../../sdk/mqtt/contract/options.js";
import { DEFAULT_LIMITS, type BrokerLimits } from "../broker/broker-settings.js";
import type { SeededRandom } from "../random.js";

const HOUR_MS = 3_600_000;

export interface WorldTraits {
  tlsVersion: "TLSv1.3" | "TLSv1.2";
  /** Lifetime of device certificates, milliseconds. */
  lifetimeMs: number;
  limits: BrokerLimits;
  /** How the broker refuses a revoked certificate: with an alert, as mosquitto does, or like any other client that may not come in. */
  refusesRevoked: "in-handshake" | "by-connack";
}

export interface DeviceTraits {
  protocolVersion: 4 | 5 | "auto";
  /** The outbox and the session's state outlive a reboot. */
  persistent: boolean;
  /** Has a pre-shared key and a recovery endpoint. */
  recoverable: boolean;
  /** Signs in with a password beside its certificate. */
  usesLogin: boolean;
  /** Left the factory without a certificate: fetches its first one over PSK, or elsewhere. */
  bare: boolean;
  /** Has its certificates issued by a way that leads through no broker, as by EST. Such a device has no pre-shared key. */
  elsewhere: boolean;
  keepAliveSeconds: number;
  sessionExpirySeconds: number;
  outboxMessages: number;
  overflow: OverflowPolicy;
  /** Between two publishes on average, milliseconds. */
  publishEveryMs: number;
  /** Between two commands of the backend on average, milliseconds. */
  commandEveryMs: number;
  /** What the wall clock shows at power-on. */
  clock: "battery" | "none" | "wrong";
  latencyMs: number;
  jitterMs: number;
  uplinkBytesPerSecond: number;
  /** Now and then something so large is published, bytes; 0: never. */
  pictureBytes: number;
  /** Keeps the TLS session when it leaves, and resumes it at the next connection. */
  keepsSessions: boolean;
  /** Messages that go in the same flight as CONNECT where a TLS session is resumed; no more than the broker's Receive Maximum. */
  messagesWithConnect: number;
  /** When the application subscribes: so many milliseconds after it began, or when it is told of the first connection. */
  subscribes: number | "connected";
  /**
   * Other than the SDK's defaults, milliseconds. Only a scenario sets them: the invariants on spacing and patience know the defaults alone.
   */
  retryCapMs?: number;
  patienceMs?: number;
}

/** Traits that are given and not drawn. */
export interface GivenTraits {
  world?: Partial<Omit<WorldTraits, "limits">> & { limits?: Partial<BrokerLimits> };
  device?: Partial<DeviceTraits>;
}

export function worldTraits(random: SeededRandom, given: GivenTraits["world"] = {}): WorldTraits {
  const drawn = drawnWorldTraits(random);
  return { ...drawn, ...given, limits: { ...drawn.limits, ...given.limits } };
}

function drawnWorldTraits(random: SeededRandom): WorldTraits {
  return {
    tlsVersion: random.chance(0.6) ? "TLSv1.3" : "TLSv1.2",
    lifetimeMs: random.pick([6, 12, 24, 72, 24 * 30]) * HOUR_MS,
    limits: {
      ...DEFAULT_LIMITS,
      versions: random.pick([[4, 5], [4, 5], [4, 5], [4]] as const),
      receiveMaximum: random.pick([1, 3, 10, 20, 65_535]),
      maximumPacketBytes: random.pick([2_048, 16_384, 65_536]),
      topicAliasMaximum: random.pick([0, 2, 10]),
      serverKeepAliveSeconds: random.pick([0, 0, 30]),
      qos2PassedOn: random.pick(["at-publish", "at-pubrel"] as const),
    },
    refusesRevoked: random.pick(["in-handshake", "by-connack"] as const),
  };
}

/**
 * A device that cannot recover gets a certificate that outlives any series of faults here, milliseconds: once expired it could only be
 * provisioned again.
 */
const LASTING_MS = 72 * HOUR_MS;

/** @param versions what the broker speaks: a device that insists on another would never get in */
export function deviceTraits(
  random: SeededRandom,
  versions: readonly (4 | 5)[],
  lifetimeMs: number,
  given: GivenTraits["device"] = {},
): DeviceTraits {
  const recoverable = random.chance(0.85) || lifetimeMs < LASTING_MS;
  const drawn: DeviceTraits = {
    recoverable,
    bare: recoverable && random.chance(0.15),
    elsewhere: false,
    usesLogin: random.chance(0.25),
    protocolVersion: random.pick(versions.includes(5) ? (["auto", 4, 5, 5] as const) : (["auto", 4] as const)),
    persistent: random.chance(0.6),
    keepAliveSeconds: random.pick([30, 60, 60, 300]),
    sessionExpirySeconds: random.pick([3_600, 86_400]),
    outboxMessages: random.pick([30, 200, 1_000]),
    overflow: random.pick(["reject", "reject", "drop-oldest", "replace-by-topic"] as const),
    publishEveryMs: random.pick([20_000, 60_000, 180_000]),
    commandEveryMs: random.pick([60_000, 300_000]),
    clock: random.pick(["battery", "none", "none", "wrong"] as const),
    latencyMs: random.pick([5, 30, 120, 400]),
    jitterMs: random.pick([0, 20, 200]),
    uplinkBytesPerSecond: Infinity,
    pictureBytes: 0,
    subscribes: random.pick([0, 0, 1_500, 8_000, "connected"] as const),
    keepsSessions: random.chance(0.5),
    messagesWithConnect: 0,
  };
  // Not drawn: what the seeds have found so far stays what they find.
  if (drawn.keepsSessions && drawn.jitterMs > 0) drawn.messagesWithConnect = 1;
  if (!recoverable && given.recoverable === undefined && drawn.jitterMs > 0) drawn.elsewhere = true;
  return { ...drawn, ...given };
}
