/**
 * What a hosted broker takes, so that a device which asks for more fails on the desk and not in the field: many of these brokers answer a
 * slip with silence or a closed connection. The words are those of docs/any-broker.md, where the sources are.
 */
import { utf8Length } from "../encoding/utf8.js";
import { HawserError } from "../errors.js";

/** Whatever is left out is not limited. */
export interface BrokerLimits {
  /** Its name, for messages. */
  readonly broker: string;
  /** Ports that take devices, each with the ALPN name that it wants, if any. */
  readonly ports?: Readonly<Record<number, string | undefined>>;
  /** What a device signs in with. */
  readonly factor?: "certificate" | "password";
  /** The broker tells its customers apart by the server name (SNI), which an address has not. */
  readonly needsServerName?: true;
  /** The user name that it wants, as DeviceConfig's `username` has it before `{id}` is filled in. */
  readonly username?: { readonly pattern: RegExp; readonly form: string };
  /** The user name is the secret, and the password may be left out. */
  readonly tokenIsUsername?: true;
  /** False: topics of Hawser's authority do not exist there. */
  readonly takesEnrolment?: false;
  readonly protocolVersions?: readonly (4 | 5)[];
  /** Least and most, seconds. */
  readonly keepAliveSeconds?: readonly [least: number, most: number];
  readonly maximumQos?: 0 | 1;
  readonly takesRetain?: false;
  /** Bytes of a payload. */
  readonly maximumPayloadBytes?: number;
  /** Bytes of a whole PUBLISH; its properties are counted by the client, which hears the limit from a broker of 5.0. */
  readonly maximumPacketBytes?: number;
  readonly maximumSlashes?: number;
  readonly maximumTopicBytes?: number;
  /** The beginning of a topic that counts for neither. */
  readonly uncounted?: RegExp;
  readonly maximumWillDelaySeconds?: number;
  /** The only topics and filters that exist there. */
  readonly topics?: { readonly names: RegExp; readonly filters: RegExp; readonly form: string };
  readonly maximumSubscriptions?: number;
  readonly maximumFilterLevels?: number;
  readonly takesSharedSubscriptions?: false;
  readonly takesSubscriptionIdentifiers?: false;
  readonly takesSubscriptionProperties?: false;
  /** Any other limit on one message or subscription. @returns the limit and what was asked, where it is crossed */
  readonly also?: (topic: string, wanted: Wanted) => readonly [limit: string, got: string] | undefined;
}

/** A message, a will or a subscription, as far as limits concern it. */
export interface Wanted {
  readonly qos?: number | undefined;
  readonly retain?: boolean | undefined;
  readonly payload?: Uint8Array | string | undefined;
  /** Of a will, seconds. */
  readonly delaySeconds?: number | undefined;
  readonly subscriptionIdentifier?: number | undefined;
  readonly userProperties?: unknown;
  /** Of a subscription: those there are already. */
  readonly filters?: readonly string[];
}

/** What of a device's configuration a preset speaks about. */
export interface ConfiguredDevice {
  readonly broker: { readonly host: string; readonly port: number; readonly serverName?: string; readonly alpn?: string };
  readonly recovery?: unknown;
  readonly credential?: unknown;
  readonly enrolment?: unknown;
  readonly username?: string;
  readonly protocolVersion?: 4 | 5 | "auto";
  readonly keepAliveSeconds?: number;
}

/** The checks come with the preset, so that a firmware without one does not carry them. */
export interface BrokerPreset {
  readonly broker: string;
  /** As in {@link BrokerLimits}. */
  readonly tokenIsUsername?: boolean;
  /** As in {@link BrokerLimits}: false keeps those away that the client would choose itself. */
  readonly takesSubscriptionIdentifiers?: boolean;
  /** @throws HawserError `BEYOND_BROKER_LIMIT` */
  check(config: ConfiguredDevice): void;
  /** Why the broker would not take it; undefined where it does. @param topic a topic or a filter, in full */
  beyond(topic: string, wanted: Wanted): HawserError | undefined;
}

/** A limit that is crossed, and by what. */
type Slip = readonly [limit: string, got: string | number];

export function brokerPreset(limits: BrokerLimits): BrokerPreset {
  const told = (slip: Slip | undefined): HawserError | undefined =>
    slip &&
    new HawserError(
      "BEYOND_BROKER_LIMIT",
      `${limits.broker}: ${slip[0]} (got ${slip[1]})`,
      "Stay within the limits in docs/any-broker.md.",
    );
  return {
    broker: limits.broker,
    tokenIsUsername: limits.tokenIsUsername === true,
    takesSubscriptionIdentifiers: limits.takesSubscriptionIdentifiers !== false,
    check(config) {
      const error = told(ofConnection(limits, config) ?? ofLogin(limits, config));
      if (error) throw error;
    },
    beyond: (topic, wanted) =>
      told(
        ofTopic(limits, topic, wanted) ??
          (wanted.filters ? ofSubscription : ofMessage)(limits, topic, wanted) ??
          limits.also?.(topic, wanted),
      ),
  };
}

function ofConnection(limits: BrokerLimits, config: ConfiguredDevice): Slip | undefined {
  const { ports, needsServerName, protocolVersions, keepAliveSeconds } = limits;
  const { host, port, serverName = host, alpn } = config.broker;
  if (ports) {
    const wantedAlpn = ports[port];
    if (!(port in ports) || (wantedAlpn !== undefined && wantedAlpn !== alpn)) {
      const allowed = Object.keys(ports).map((one) => (ports[Number(one)] === undefined ? one : `${one} with ALPN ${ports[Number(one)]}`));
      return [`port ${allowed.join(" or ")}`, `${port}${alpn === undefined ? "" : ` with ALPN ${alpn}`}`];
    }
  }
  if (needsServerName && (serverName.includes(":") || /^[\d.]+$/.test(serverName)))
    return ["a host name instead of an address", serverName];
  const { protocolVersion = "auto" } = config;
  if (protocolVersions && (protocolVersion !== "auto" ? !protocolVersions.includes(protocolVersion) : protocolVersions.length === 1))
    return [`protocol version ${protocolVersions.join(" or ")}`, protocolVersion];
  const { keepAliveSeconds: given = 60 } = config;
  if (!keepAliveSeconds) return undefined;
  const [least, most] = keepAliveSeconds;
  return given < least || given > most ? [`keep-alive of ${least} to ${most} seconds`, given] : undefined;
}

function ofLogin(limits: BrokerLimits, config: ConfiguredDevice): Slip | undefined {
  const { factor, username } = limits;
  const shown = config.credential === undefined ? "certificate" : "password";
  if (factor !== undefined && shown !== factor) return [`sign in with a ${factor}`, `a ${shown}`];
  if (config.recovery !== undefined) return ["no pre-shared keys", "recovery"];
  if (username && !username.pattern.test(config.username ?? "")) return [`username: "${username.form}"`, config.username ?? "none"];
  const { enrolment = shown === "certificate" } = config;
  return limits.takesEnrolment === false && enrolment === true ? ["only with enrolment: false", "true"] : undefined;
}

function ofTopic(limits: BrokerLimits, topic: string, { qos = 0, filters }: Wanted): Slip | undefined {
  const { maximumQos = 2, maximumSlashes = Infinity, maximumTopicBytes = Infinity, uncounted, topics } = limits;
  if (qos > maximumQos) return [`at most QoS ${maximumQos}`, qos];
  const counted = uncounted ? topic.replace(uncounted, "") : topic;
  const slashes = counted.split("/").length - 1;
  if (slashes > maximumSlashes) return [`at most ${maximumSlashes} slashes in a topic`, `${slashes} in ${counted.slice(0, 80)}`];
  const topicBytes = utf8Length(counted);
  if (topicBytes > maximumTopicBytes) return [`at most ${maximumTopicBytes} bytes in a topic`, topicBytes];
  return topics && !(filters ? topics.filters : topics.names).test(topic) ? [topics.form, topic.slice(0, 80)] : undefined;
}

function ofMessage(
  limits: BrokerLimits,
  topic: string,
  { retain = false, payload = "", delaySeconds = 0, qos = 0 }: Wanted,
): Slip | undefined {
  const { takesRetain, maximumPayloadBytes = Infinity, maximumPacketBytes = Infinity, maximumWillDelaySeconds = Infinity } = limits;
  if (retain && takesRetain === false) return ["no retained messages", "retain"];
  if (delaySeconds > maximumWillDelaySeconds) return [`a will delay of at most ${maximumWillDelaySeconds} seconds`, delaySeconds];
  const payloadBytes = typeof payload === "string" ? utf8Length(payload) : payload.length;
  if (payloadBytes > maximumPayloadBytes) return [`at most ${maximumPayloadBytes} bytes in a message`, payloadBytes];
  const body = 2 + utf8Length(topic) + (qos > 0 ? 2 : 0) + payloadBytes;
  const packetBytes = 1 + (body < 128 ? 1 : body < 16_384 ? 2 : body < 2_097_152 ? 3 : 4) + body;
  return packetBytes > maximumPacketBytes ? [`at most ${maximumPacketBytes} bytes in a packet`, packetBytes] : undefined;
}

function ofSubscription(limits: BrokerLimits, filter: string, wanted: Wanted): Slip | undefined {
  const { maximumSubscriptions = Infinity, maximumFilterLevels = Infinity } = limits;
  const { filters = [], subscriptionIdentifier, userProperties } = wanted;
  if (limits.takesSharedSubscriptions === false && filter.startsWith("$share/")) return ["no shared subscriptions", filter.slice(0, 80)];
  if (limits.takesSubscriptionIdentifiers === false && subscriptionIdentifier !== undefined)
    return ["no subscription identifiers", subscriptionIdentifier];
  if (limits.takesSubscriptionProperties === false && userProperties !== undefined)
    return ["no user properties on a subscription", "userProperties"];
  const levels = filter.split("/").length;
  if (levels > maximumFilterLevels) return [`at most ${maximumFilterLevels} levels in a subscription`, levels];
  const count = new Set([...filters, filter]).size;
  return count > maximumSubscriptions ? [`at most ${maximumSubscriptions} subscriptions`, count] : undefined;
}
