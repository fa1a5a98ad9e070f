/** Lines of rabbitmq.conf that RabbitMQ refuses at its start, among those about MQTT and TLS. */
import { closest } from "../closest-word.js";

/** Of 3.10 to 4.1; a plugin's own and later ones are not known here, so only a name close to one of these counts as mistyped. */
const KNOWN = [
  ..."allow_anonymous default_pass default_user durable_queue_type exchange login_timeout mailbox_soft_limit".split(" "),
  ..."max_packet_size_authenticated max_packet_size_unauthenticated max_session_expiry_interval_seconds prefetch".split(" "),
  ..."proxy_protocol retained_message_store sparkplug ssl_cert_client_id_from ssl_cert_login ssl_cert_login_san_index".split(" "),
  ..."ssl_cert_login_san_type subscription_ttl topic_alias_maximum vhost".split(" "),
]
  .map((name) => `mqtt.${name}`)
  .concat(
    "verify fail_if_no_peer_cert cacertfile certfile keyfile depth password client_renegotiation secure_renegotiate honor_cipher_order crl_check"
      .split(" ")
      .map((name) => `ssl_options.${name}`),
  );

const FLAGS: ReadonlySet<string> = new Set([
  "mqtt.allow_anonymous",
  "mqtt.ssl_cert_login",
  "mqtt.proxy_protocol",
  "mqtt.sparkplug",
  "ssl_options.fail_if_no_peer_cert",
  "ssl_options.honor_cipher_order",
]);

export interface WrongLine {
  readonly what: string;
  readonly meant?: string;
}

export function wrongRabbitLine(key: string, value: string): WrongLine | undefined {
  if (FLAGS.has(key) && value !== "true" && value !== "false") return { what: `${key} is true or false, not ${JSON.stringify(value)}` };
  if (key === "ssl_options.verify" && value !== "verify_peer" && value !== "verify_none")
    return { what: `ssl_options.verify is verify_peer or verify_none, not ${JSON.stringify(value)}` };
  if (KNOWN.includes(key) || !/^(mqtt|ssl_options)\.[a-z_]+$/.test(key)) return undefined;
  const near = closest(key, KNOWN, 2);
  return near === undefined ? undefined : { what: `RabbitMQ knows no ${key} (${near}?)`, meant: `${near} = ${value}` };
}
