/**
 * Every option of mosquitto.conf from 2.0.11 to 2.1.2: what it applies to and how its value is read. Taken from the three versions' conf.c.
 */
import { closest } from "../closest-word.js";

/** `security`: global, or of the listener with per_listener_settings. */
export type OptionScope = "global" | "security" | "listener" | "bridge" | "plugin";
export type OptionKind = "bool" | "int" | "string" | "token";

/**
 * What 2.1 demands before the option: `listener` a listener line; `default` creates the default listener where there is none; `named` a
 * listener that is not the default one. 2.0 applies all of them to the default listener.
 */
export type Demand21 = "listener" | "default" | "named";

export interface OptionFacts {
  readonly scope: OptionScope;
  readonly kind: OptionKind;
  /** First version that knows it, where that is not 2.0.11. */
  readonly since?: "2.0.12" | "2.1";
  readonly demand21?: Demand21;
}

const rows = (
  scope: OptionScope,
  kind: OptionKind,
  names: string,
  extra: Omit<OptionFacts, "scope" | "kind"> = {},
): [string, OptionFacts][] => names.split(" ").map((name) => [name, { scope, kind, ...extra }]);

export const OPTIONS: ReadonlyMap<string, OptionFacts> = new Map([
  ...rows(
    "global",
    "bool",
    "allow_duplicate_messages autosave_on_changes check_retain_source connection_messages log_timestamp per_listener_settings persistence",
  ),
  ...rows("global", "bool", "queue_qos0_messages retain_available retained_persistence set_tcp_nodelay upgrade_outgoing_qos"),
  ...rows(
    "global",
    "int",
    "autosave_interval log_facility max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_queued_bytes max_queued_messages",
  ),
  ...rows("global", "int", "memory_limit message_size_limit sys_interval websockets_headers_size websockets_log_level port"),
  ...rows("global", "int", "retain_expiry_interval", { since: "2.0.12" }),
  ...rows("global", "int", "global_max_clients global_max_connections packet_buffer_size", { since: "2.1" }),
  ...rows("global", "bool", "enable_control_api", { since: "2.1" }),
  ...rows("global", "string", "bind_address clientid_prefixes log_timestamp_format persistence_file persistence_location pid_file user"),
  ...rows("global", "token", "include_dir log_dest log_type persistent_client_expiration retry_interval"),
  ...rows("security", "bool", "allow_anonymous allow_zero_length_clientid"),
  ...rows("security", "string", "acl_file auto_id_prefix password_file psk_file auth_plugin plugin"),
  ...rows("security", "string", "global_plugin", { since: "2.1" }),
  ...rows("plugin", "bool", "auth_plugin_deny_special_chars"),
  ...rows("plugin", "token", "plugin_load", { since: "2.1" }),
  ...rows("listener", "token", "listener"),
  ...rows("listener", "string", "cafile tls_version", { demand21: "listener" }),
  ...rows(
    "listener",
    "string",
    "bind_interface capath certfile ciphers ciphers_tls1.3 crlfile keyfile psk_hint tls_engine tls_engine_kpass_sha1 tls_keyform",
    { demand21: "default" },
  ),
  ...rows("listener", "string", "dhparamfile"),
  ...rows("listener", "string", "http_dir mount_point", { demand21: "listener" }),
  ...rows("listener", "token", "max_topic_alias", { demand21: "listener" }),
  ...rows("listener", "int", "max_connections max_qos maximum_qos", { demand21: "default" }),
  ...rows("listener", "token", "protocol socket_domain", { demand21: "default" }),
  ...rows("listener", "bool", "require_certificate use_identity_as_username use_subject_as_username use_username_as_clientid", {
    demand21: "default",
  }),
  ...rows("listener", "bool", "listener_allow_anonymous disable_client_cert_date_checks proxy_protocol_v2_require_tls", {
    since: "2.1",
    demand21: "listener",
  }),
  ...rows("listener", "string", "listener_auto_id_prefix websockets_origin", { since: "2.1", demand21: "listener" }),
  ...rows("listener", "int", "enable_proxy_protocol max_topic_alias_broker", { since: "2.1", demand21: "listener" }),
  ...rows("listener", "token", "accept_protocol_versions", { since: "2.1", demand21: "named" }),
  ...rows("listener", "string", "plugin_use", { since: "2.1", demand21: "named" }),
  ...rows("bridge", "token", "connection address addresses bridge_protocol_version restart_timeout start_type topic"),
  ...rows(
    "bridge",
    "string",
    "bridge_alpn bridge_bind_address bridge_cafile bridge_capath bridge_certfile bridge_identity bridge_keyfile bridge_psk bridge_tls_version",
  ),
  ...rows(
    "bridge",
    "string",
    "clientid remote_clientid local_clientid local_password local_username password remote_password username remote_username notification_topic",
  ),
  ...rows(
    "bridge",
    "bool",
    "bridge_attempt_unsubscribe bridge_insecure bridge_outgoing_retain bridge_require_ocsp cleansession local_cleansession",
  ),
  ...rows("bridge", "bool", "notifications notifications_local_only round_robin try_private"),
  ...rows("bridge", "int", "bridge_max_packet_size idle_timeout keepalive_interval threshold"),
  ...rows("bridge", "string", "bridge_ciphers bridge_ciphers_tls1.3", { since: "2.1" }),
  ...rows("bridge", "bool", "bridge_tls_use_os_certs", { since: "2.1" }),
  ...rows(
    "bridge",
    "int",
    "bridge_max_topic_alias bridge_receive_maximum bridge_session_expiry_interval bridge_tcp_keepalive bridge_tcp_user_timeout",
    { since: "2.1" },
  ),
  ...rows("bridge", "token", "bridge_reload_type", { since: "2.1" }),
]);

/** Options that create the default listener when they stand before the first listener (2.0): plain 1883 on every interface. */
export const WAKING_OPTIONS: ReadonlySet<string> = new Set([
  ..."bind_interface cafile capath certfile keyfile tls_engine tls_keyform tls_engine_kpass_sha1 ciphers ciphers_tls1.3 dhparamfile psk_hint".split(
    " ",
  ),
  ..."require_certificate crlfile use_identity_as_username use_subject_as_username use_username_as_clientid bind_address port".split(" "),
  ..."max_connections max_qos maximum_qos mount_point protocol socket_domain".split(" "),
]);

export function factsOf(name: string): OptionFacts | undefined {
  if (/^(auth_opt_|plugin_opt_)/.test(name)) return { scope: "plugin", kind: "token" };
  return OPTIONS.get(name);
}

/** The known option that a mistyped one is closest to, if it is close. */
export function nearestOption(name: string): string | undefined {
  return closest(name.toLowerCase().replaceAll("-", "_"), OPTIONS.keys(), Math.min(3, Math.ceil(name.length / 4)));
}
