/** Serves metrics to Prometheus, on loopback only: what a fleet does is nobody else's business, and there is no TLS here. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HawserError } from "../../sdk/errors.js";
import { errnoCode } from "../../sim/node/files/atomic-file.js";

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** A scraper needs one. */
const MAX_CONNECTIONS = 16;
const REQUEST_TIMEOUT_MS = 5000;
/** A page in a browser that reaches loopback under a name of its choice is not answered. */
const HOSTS = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;

/**
 * @param port 0 lets the system choose
 * @param render the metrics now
 * @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`
 */
export async function startMetricsServer(port: number, render: () => string): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = "text/plain; charset=utf-8"): void =>
      void response.writeHead(status, { "content-type": type, "x-content-type-options": "nosniff" }).end(text);
    if (!HOSTS.test(request.headers.host ?? "")) answer(421, "Ask for localhost.\n");
    else if (request.method !== "GET" && request.method !== "HEAD") answer(405, "Use GET.\n");
    else if (request.url?.split("?")[0] !== "/metrics") answer(404, "Metrics are at /metrics.\n");
    else answer(200, render(), "text/plain; version=0.0.4; charset=utf-8");
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = server.headersTimeout = REQUEST_TIMEOUT_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const isTaken = errnoCode(error) === "EADDRINUSE";
      const what = isTaken ? `port ${port} is in use` : `cannot listen on 127.0.0.1:${port}: ${error.message}`;
      reject(new HawserError(isTaken ? "PORT_IN_USE" : "LISTEN_FAILED", what, "Choose another port with --metrics."));
    });
    server.listen(port, "127.0.0.1", resolve);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port: (server.address() as AddressInfo).port, close };
}
