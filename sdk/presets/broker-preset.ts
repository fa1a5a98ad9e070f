/**
 * What a hosted broker takes, so that a device which asks for more fails on the desk and not in the field: many of these brokers answer a
 * slip with silence or a closed connection. The words are those of docs/any-broker.md, where the sources are.
 */
import { utf8Length } from "../encoding/utf8.js";
import { HawserError } from "../errors.js";

export interface BrokerLimits {
  /** Its name, for messages. */
  readonly broker: string;
  /** Ports that take devices, each with the ALPN name that it wants, if any. */
  readonly ports: Readonly<Record<number, string | undefined>>;
  /** What a device signs in with. */
  readonly factor: "certificate" | "password";
  readonly protocolVersions: readonly (4 | 5)[];
  /** Least and most, seconds. */
  readonly keepAliveSeconds: readonly [least: number, most: number];
  readonly maximumQos: 0 | 1 | 2;
  readonly takesRetain: boolean;
  /** Bytes of a payload. */
  readonly maximumPayloadBytes: number;
  readonly maximumSlashes?: number;
  readonly maximumTopicBytes?: number;
  /** The beginning of a topic that counts for neither. */
  readonly uncounted?: RegExp;
}

/** A message, a will or a subscription, as far as limits concern it. */
export interface Wanted {
  readonly qos?: number | undefined;
  readonly retain?: boolean | undefined;
  readonly payload?: Uint8Array | string | undefined;
}

/** What of a device's configuration a preset speaks about. */
export interface ConfiguredDevice {
  readonly broker: { readonly port: number; readonly alpn?: string };
  readonly recovery?: unknown;
  readonly credential?: unknown;
  readonly protocolVersion?: 4 | 5 | "auto";
  readonly keepAliveSeconds?: number;
}

/** The checks come with the preset, so that a firmware without one does not carry them. */
export interface BrokerPreset {
  readonly broker: string;
  /** @throws HawserError `BEYOND_BROKER_LIMIT` */
  check(config: ConfiguredDevice): void;
  /** Why the broker would not take it; undefined where it does. @param topic a topic or a filter, in full */
  beyond(topic: string, wanted: Wanted): HawserError | undefined;
}

export function brokerPreset(limits: BrokerLimits): BrokerPreset {
  return {
    broker: limits.broker,
    check: (config) => checkPreset(limits, config),
    beyond: (topic, wanted) => beyondPreset(limits, topic, wanted),
  };
}

/** @throws HawserError `BEYOND_BROKER_LIMIT` */
function checkPreset(limits: BrokerLimits, config: ConfiguredDevice): void {
  const { ports, factor, protocolVersions, keepAliveSeconds } = limits;
  const { port, alpn } = config.broker;
  const wantedAlpn = ports[port];
  if (!(port in ports) || (wantedAlpn !== undefined && wantedAlpn !== alpn)) {
    const allowed = Object.keys(ports).map((one) => (ports[Number(one)] === undefined ? one : `${one} with ALPN ${ports[Number(one)]}`));
    throw beyond(limits, `port ${allowed.join(" or ")}`, `${port}${alpn === undefined ? "" : ` with ALPN ${alpn}`}`);
  }
  const shown = config.credential === undefined ? "certificate" : "password";
  if (shown !== factor) throw beyond(limits, `sign in with a ${factor}`, `a ${shown}`);
  if (config.recovery !== undefined) throw beyond(limits, "no pre-shared keys", "recovery");
  const { protocolVersion = "auto" } = config;
  if (protocolVersion !== "auto" ? !protocolVersions.includes(protocolVersion) : protocolVersions.length === 1) {
    throw beyond(limits, `protocol version ${protocolVersions.join(" or ")}`, protocolVersion);
  }
  const [least, most] = keepAliveSeconds;
  const { keepAliveSeconds: given = 60 } = config;
  if (given < least || given > most) throw beyond(limits, `keep-alive of ${least} to ${most} seconds`, given);
}

/** Why the broker would not take it; undefined where it does. @param topic a topic or a filter, in full */
function beyondPreset(limits: BrokerLimits, topic: string, { qos = 0, retain = false, payload = "" }: Wanted): HawserError | undefined {
  const { maximumQos, maximumSlashes = Infinity, maximumTopicBytes = Infinity, maximumPayloadBytes, takesRetain, uncounted } = limits;
  if (qos > maximumQos) return beyond(limits, `at most QoS ${maximumQos}`, qos);
  if (retain && !takesRetain) return beyond(limits, "no retained messages", "retain");
  const counted = uncounted === undefined ? topic : topic.replace(uncounted, "");
  const slashes = counted.split("/").length - 1;
  if (slashes > maximumSlashes)
    return beyond(limits, `at most ${maximumSlashes} slashes in a topic`, `${slashes} in ${counted.slice(0, 80)}`);
  const topicBytes = utf8Length(counted);
  if (topicBytes > maximumTopicBytes) return beyond(limits, `at most ${maximumTopicBytes} bytes in a topic`, topicBytes);
  const payloadBytes = typeof payload === "string" ? utf8Length(payload) : payload.length;
  return payloadBytes > maximumPayloadBytes ? beyond(limits, `at most ${maximumPayloadBytes} bytes in a message`, payloadBytes) : undefined;
}

function beyond({ broker }: BrokerLimits, limit: string, got: string | number): HawserError {
  return new HawserError("BEYOND_BROKER_LIMIT", `${broker}: ${limit} (got ${got})`, "Stay within the limits in docs/any-broker.md.");
}
