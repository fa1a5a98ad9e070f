/** The authority's connection to a broker, by mutual TLS. */
import { isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import type { Endpoint } from "../../sdk/platform.js";

/** PEM texts. */
export interface ShownCredentials {
  /** Leaf and issuing CA. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly trustAnchorPem: string;
}

export function dialBroker(endpoint: Endpoint, { chainPem, keyPem, trustAnchorPem }: ShownCredentials): TLSSocket {
  const serverName = endpoint.serverName ?? endpoint.host;
  const socket = connectTls({
    host: endpoint.host,
    port: endpoint.port,
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    minVersion: "TLSv1.2",
    cert: chainPem,
    key: keyPem,
    ca: trustAnchorPem,
  });
  // MQTT.js leaves Nagle's algorithm on, which costs 44 ms a round trip.
  socket.setNoDelay(true);
  return socket;
}
