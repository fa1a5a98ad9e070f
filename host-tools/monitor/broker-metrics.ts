/**
 * What Prometheus is told. The number of series is fixed: no id, name, address or topic is a label, and only topics of the
 * table below are taken from `$SYS`. Names follow prometheus.io/docs/practices/naming.
 */
import { FLEET_METRIC_NAMES } from "./authority/fleet-metrics.js";
import { REPORT_KINDS } from "./device-reports.js";
import { HOOK_RESULTS } from "./hooks/hook-queue.js";
import type { HookResult } from "./hooks/hook-queue.js";
import type { MonitorEvent } from "./log-monitor.js";
import { REFUSAL_REASONS } from "./mosquitto-line.js";
import { ALERT_RULES } from "./alert.js";
import type { RabbitmqLook } from "./rabbitmq-source.js";

interface Family {
  readonly help: string;
  readonly type: "counter" | "gauge";
  /** The one label, with every value it can have. */
  readonly label?: readonly [name: string, values: readonly string[]];
}

const ENDS = ["closed", "timed_out", "taken_over", "kicked"] as const;

/** From the log: counted since the monitor started. */
const LOG_FAMILIES = {
  hawser_broker_accepts_total: { help: "TCP connections that the broker accepted.", type: "counter" },
  hawser_broker_connects_total: { help: "Clients that were let in.", type: "counter" },
  hawser_broker_disconnects_total: { help: "Sessions that ended, by how.", type: "counter", label: ["end", ENDS] },
  hawser_broker_refusals_total: {
    help: "Connections that were not let in, by reason.",
    type: "counter",
    label: ["reason", REFUSAL_REASONS],
  },
  hawser_broker_denied_publishes_total: { help: "Publishes that the broker's rules forbid.", type: "counter" },
  hawser_broker_denied_subscriptions_total: { help: "Subscriptions that the broker's rules forbid.", type: "counter" },
  hawser_broker_starts_total: { help: "Starts of the broker.", type: "counter" },
  hawser_broker_reloads_total: { help: "Times the broker read its configuration again.", type: "counter" },
  hawser_broker_configuration_errors_total: { help: "Lines of its files that the broker could not read.", type: "counter" },
  hawser_monitor_alerts_total: {
    help: "Alerts about single clients or addresses, by rule.",
    type: "counter",
    label: ["rule", ALERT_RULES],
  },
  hawser_device_reports_total: {
    help: "What devices report of themselves, by what went wrong for them.",
    type: "counter",
    label: ["kind", REPORT_KINDS],
  },
  hawser_monitor_hook_messages_total: {
    help: "Events for webhooks and commands, by what became of them.",
    type: "counter",
    label: ["result", HOOK_RESULTS],
  },
  hawser_monitor_log_gaps_total: { help: "Times that lines of the log were lost.", type: "counter" },
  hawser_monitor_log_read_timestamp_seconds: { help: "When the log was last read to its end.", type: "gauge" },
} as const satisfies Readonly<Record<string, Family>>;

/** From `$SYS`: left out while the broker is out of reach, so that no old value passes for a new one. */
const SYS_FAMILIES = {
  hawser_broker_clients_connected: { help: "Clients connected now.", type: "gauge", topic: "clients/connected" },
  hawser_broker_sessions: { help: "Clients connected, or away with a session kept for them.", type: "gauge", topic: "clients/total" },
  hawser_broker_messages_received_total: { help: "MQTT packets received.", type: "counter", topic: "messages/received" },
  hawser_broker_messages_sent_total: { help: "MQTT packets sent.", type: "counter", topic: "messages/sent" },
  hawser_broker_publishes_received_total: { help: "PUBLISH packets received.", type: "counter", topic: "publish/messages/received" },
  hawser_broker_publishes_sent_total: { help: "PUBLISH packets sent.", type: "counter", topic: "publish/messages/sent" },
  hawser_broker_publishes_dropped_total: {
    help: "Messages dropped because a queue was full.",
    type: "counter",
    topic: "publish/messages/dropped",
  },
  hawser_broker_received_bytes_total: { help: "Bytes received.", type: "counter", topic: "bytes/received" },
  hawser_broker_sent_bytes_total: { help: "Bytes sent.", type: "counter", topic: "bytes/sent" },
  hawser_broker_retained_messages: { help: "Retained messages.", type: "gauge", topic: "retained messages/count" },
  hawser_broker_stored_messages: { help: "Messages kept, retained and queued ones.", type: "gauge", topic: "store/messages/count" },
  hawser_broker_stored_bytes: { help: "Bytes of the messages kept.", type: "gauge", topic: "store/messages/bytes" },
  hawser_broker_subscriptions: { help: "Subscriptions.", type: "gauge", topic: "subscriptions/count" },
  hawser_broker_published_bytes_received_total: {
    help: "Bytes of the payloads received.",
    type: "counter",
    topic: "publish/bytes/received",
  },
  hawser_broker_published_bytes_sent_total: { help: "Bytes of the payloads sent.", type: "counter", topic: "publish/bytes/sent" },
  hawser_broker_sessions_expired_total: {
    help: "Sessions forgotten because their client stayed away.",
    type: "counter",
    topic: "clients/expired",
  },
  hawser_broker_connects_per_minute: {
    help: "CONNECT packets in a minute, on average over a minute.",
    type: "gauge",
    topic: "load/connections/1min",
  },
  hawser_broker_accepts_per_minute: {
    help: "TCP connections in a minute, on average over a minute. Far more of them than CONNECT packets are a scan.",
    type: "gauge",
    topic: "load/sockets/1min",
  },
  hawser_broker_heap_bytes: { help: "Memory that the broker uses.", type: "gauge", topic: "heap/current" },
  hawser_broker_uptime_seconds: { help: "How long the broker has run.", type: "gauge", topic: "uptime" },
} as const satisfies Readonly<Record<string, Family & { readonly topic: string }>>;

type LogFamily = keyof typeof LOG_FAMILIES;
type SysFamily = keyof typeof SYS_FAMILIES;

const SYS_PREFIX = "$SYS/broker/";
const FAMILY_OF_TOPIC: ReadonlyMap<string, SysFamily> = new Map(
  (Object.keys(SYS_FAMILIES) as SysFamily[]).map((name) => [SYS_PREFIX + SYS_FAMILIES[name].topic, name]),
);

/** The topics that metrics are taken from. */
export const SYS_TOPICS: readonly string[] = [...FAMILY_OF_TOPIC.keys()];

/** Every metric there is. */
export const METRIC_NAMES: readonly string[] = [
  "hawser_build_info",
  "hawser_broker_up",
  ...Object.keys(LOG_FAMILIES),
  ...Object.keys(SYS_FAMILIES),
  ...FLEET_METRIC_NAMES,
];

export class BrokerMetrics {
  readonly #counts = new Map<string, number>();
  readonly #sys = new Map<SysFamily, number>();
  #isUp: boolean | undefined;
  readonly #version: string;

  constructor(hawserVersion: string) {
    this.#version = hawserVersion;
    for (const [name, { label, type }] of Object.entries<Family>(LOG_FAMILIES)) {
      // A time is told once there is one.
      if (type === "counter") for (const value of label?.[1] ?? [""]) this.#counts.set(seriesOf(name, label?.[0], value), 0);
    }
  }

  accepted(): void {
    this.#count("hawser_broker_accepts_total");
  }

  event(event: Exclude<MonitorEvent, { kind: "authority" }>): void {
    switch (event.kind) {
      case "connected":
        return this.#count("hawser_broker_connects_total");
      case "disconnected":
        return this.#count("hawser_broker_disconnects_total", "closed");
      case "timed-out":
        return this.#count("hawser_broker_disconnects_total", "timed_out");
      case "taken-over":
        return this.#count("hawser_broker_disconnects_total", "taken_over");
      case "kicked":
        return this.#count("hawser_broker_disconnects_total", "kicked");
      case "refused":
        return this.#count("hawser_broker_refusals_total", event.reason);
      case "denied":
        return this.#count(
          event.access === "subscribe" ? "hawser_broker_denied_subscriptions_total" : "hawser_broker_denied_publishes_total",
        );
      case "broker-started":
        return this.#count("hawser_broker_starts_total");
      case "reloaded":
        return this.#count("hawser_broker_reloads_total");
      case "configuration-error":
        return this.#count("hawser_broker_configuration_errors_total");
      case "alert":
        return this.#count("hawser_monitor_alerts_total", event.rule);
      case "report":
        return this.#count("hawser_device_reports_total", event.report, event.count);
      case "log-gap":
        return this.#count("hawser_monitor_log_gaps_total");
      case "broker-stopped":
        return;
    }
  }

  hook(result: HookResult): void {
    this.#count("hawser_monitor_hook_messages_total", result);
  }

  logRead(nowMs: number): void {
    this.#counts.set("hawser_monitor_log_read_timestamp_seconds", nowMs / 1000);
  }

  /** Whether the broker answers; its `$SYS` values end with the connection. */
  setUp(isUp: boolean): void {
    this.#isUp = isUp;
    if (!isUp) this.#sys.clear();
  }

  /** A message below `$SYS`. Topics and payloads that are not in the table change nothing. */
  sysMessage(topic: string, payload: string): void {
    const name = FAMILY_OF_TOPIC.get(topic);
    const value = Number(/^(\d{1,18}(?:\.\d{1,6})?)(?: seconds)?$/.exec(payload)?.[1] ?? Number.NaN);
    if (name !== undefined && !Number.isNaN(value)) this.#sys.set(name, value);
  }

  /** What RabbitMQ's management API says. */
  rabbitmq({ overview, memoryBytes, uptimeMs, accepts, ends, connects, refusals }: RabbitmqLook): void {
    this.setUp(true);
    const values: Readonly<Partial<Record<SysFamily, number>>> = {
      hawser_broker_clients_connected: overview.connections,
      hawser_broker_subscriptions: overview.consumers,
      hawser_broker_publishes_received_total: overview.published,
      hawser_broker_publishes_sent_total: overview.delivered,
      hawser_broker_stored_messages: overview.stored,
      hawser_broker_heap_bytes: memoryBytes,
      hawser_broker_uptime_seconds: uptimeMs / 1000,
    };
    for (const [name, value] of Object.entries(values)) this.#sys.set(name as SysFamily, value);
    this.#count("hawser_broker_accepts_total", "", accepts);
    this.#count("hawser_broker_disconnects_total", "closed", ends);
    this.#count("hawser_broker_connects_total", "", connects);
    this.#count("hawser_broker_refusals_total", "password", refusals);
  }

  /** In Prometheus' text format, version 0.0.4. */
  render(): string {
    const lines: string[] = [];
    const family = (name: string, { help, type }: Pick<Family, "help" | "type">): void =>
      void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    family("hawser_build_info", { help: "The version of hawser, in its label.", type: "gauge" });
    lines.push(`hawser_build_info{version=${JSON.stringify(this.#version)}} 1`);
    for (const [name, facts] of Object.entries<Family>(LOG_FAMILIES)) {
      const series = (facts.label?.[1] ?? [""]).map((value) => seriesOf(name, facts.label?.[0], value));
      const counted = series.filter((one) => this.#counts.has(one));
      if (counted.length > 0) family(name, facts);
      for (const one of counted) lines.push(`${one} ${this.#counts.get(one) ?? 0}`);
    }
    if (this.#isUp === undefined) return `${lines.join("\n")}\n`;
    family("hawser_broker_up", { help: "1 while the broker answers the monitor's connection, else 0.", type: "gauge" });
    lines.push(`hawser_broker_up ${this.#isUp ? 1 : 0}`);
    for (const [name, value] of this.#sys) {
      family(name, SYS_FAMILIES[name]);
      lines.push(`${name} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #count(name: LogFamily, label = "", more = 1): void {
    const family: Family = LOG_FAMILIES[name];
    const series = seriesOf(name, family.label?.[0], label);
    this.#counts.set(series, (this.#counts.get(series) ?? 0) + more);
  }
}

function seriesOf(name: string, label: string | undefined, value: string): string {
  return label === undefined ? name : `${name}{${label}="${value}"}`;
}
