/** Whether there is a broker to serve, found out before a certificate is made for the service: a wrong address must change nothing. */
import { isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import { failure } from "../../sdk/failure.js";
import type { Failure } from "../../sdk/failure.js";
import type { Endpoint } from "../../sdk/platform.js";
import { linkFailure } from "../../sim/node/tls-failure.js";

/**
 * Begins a TLS handshake without a certificate. That the broker then wants one is as good an answer as any.
 *
 * @param trustAnchorPem by which the broker is judged
 * @returns what is wrong, or undefined when the broker is there and is the right one
 */
export function probeBroker(endpoint: Endpoint, trustAnchorPem: string, timeoutMs: number): Promise<Failure | undefined> {
  const address = `${endpoint.host}:${endpoint.port}`;
  const serverName = endpoint.serverName ?? endpoint.host;
  return new Promise((resolve) => {
    const socket = connectTls({
      host: endpoint.host,
      port: endpoint.port,
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
      minVersion: "TLSv1.2",
      ca: trustAnchorPem,
    });
    const settle = (found: Failure | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(found);
    };
    const timer = setTimeout(() => settle(failure("CONNECT_TIMEOUT", `${address} did not answer within ${timeoutMs} ms`)), timeoutMs);
    socket.once("secureConnect", () => settle(undefined));
    socket.on("error", (error) => {
      const found = linkFailure(error, { address, shown: "no-certificate", opened: false, isServerProved: false });
      settle(found.class === "credential" ? undefined : found);
    });
  });
}
