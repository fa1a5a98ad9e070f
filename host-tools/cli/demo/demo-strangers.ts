/** Connections that must not succeed, tried with MQTT.js over Node's own TLS. */
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import mqtt, { type MqttClient } from "mqtt";
import type { ClientCredentials } from "../../ca/clients.js";
import { within } from "./within.js";

/** PSK suites of TLS 1.3, and one of 1.2. */
const PSK_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:ECDHE-PSK-CHACHA20-POLY1305";

export interface Stranger {
  clientId: string;
  port: number;
  tls: ConnectionOptions;
}

export function withCertificate(credentials: Pick<ClientCredentials, "keyPem" | "chainPem">, trustAnchorPem: string): ConnectionOptions {
  return { key: credentials.keyPem, cert: credentials.chainPem, ca: trustAnchorPem };
}

export function withPsk(identity: string, psk: Uint8Array): ConnectionOptions {
  return { pskCallback: () => ({ psk, identity }), ciphers: PSK_CIPHERS, checkServerIdentity: () => undefined };
}

/** Signs in; undefined when the broker does not let it in. */
export async function signIn({ clientId, port, tls }: Stranger): Promise<MqttClient | undefined> {
  const dial = (): ReturnType<typeof connectTls> => connectTls({ host: "localhost", port, servername: "localhost", ...tls });
  const client = new mqtt.MqttClient(dial, { clientId, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 10_000 });
  client.on("error", () => undefined); // "close" follows
  const isIn = await within(
    new Promise<boolean>((resolve) => {
      client.once("connect", () => resolve(true));
      client.once("close", () => resolve(false));
    }),
    `the broker's answer to ${clientId}`,
  );
  if (isIn) return client;
  await client.endAsync(true);
  return undefined;
}
