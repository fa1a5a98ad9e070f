/** How MQTT.js comes in by a device's pre-shared key: over TLS 1.2, which alone has it in Node. */
import type { IClientOptions } from "mqtt";

export function pskTls(psk: Uint8Array, identity: string): IClientOptions {
  const options: Record<string, unknown> = {
    ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
    maxVersion: "TLSv1.2",
    pskCallback: () => ({ identity, psk }),
    // A pre-shared key proves the broker, which shows no certificate.
    checkServerIdentity: () => undefined,
  };
  return options;
}

/** One connection of 3.1.1, which is not tried again. */
export function pskOptions(host: string, port: number, psk: Uint8Array, identity: string): IClientOptions {
  return { protocol: "mqtts", host, port, clientId: identity, protocolVersion: 4, reconnectPeriod: 0, ...pskTls(psk, identity) };
}
