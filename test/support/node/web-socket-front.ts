/** For tests: a WebSocket server of another make (the package `ws`) before a broker's plain port, as a reverse proxy stands there. */
import { once } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer, type ServerOptions } from "node:https";
import { connect, type AddressInfo } from "node:net";
import { createRequire } from "node:module";
import type { Duplex } from "node:stream";

/** What is used of it; it has no types of its own. */
interface Ws {
  WebSocketServer: new (options: object) => { on(event: "connection", listener: (socket: object) => void): void };
  createWebSocketStream(socket: object): Duplex;
}
const { WebSocketServer, createWebSocketStream } = createRequire(import.meta.url)("ws") as Ws;

export interface WebSocketFront {
  readonly port: number;
  /** Subject common names of the client certificates that came, where one was asked for. */
  readonly clients: string[];
  stop(): Promise<void>;
}

/** @param tls left out: without TLS */
export async function startWebSocketFront(brokerPort: number, tls?: ServerOptions): Promise<WebSocketFront> {
  const http: Server = tls ? createHttpsServer(tls) : createHttpServer();
  const clients: string[] = [];
  http.on("secureConnection", (socket: { getPeerCertificate(): { subject?: { CN: string } } }) => {
    const { subject } = socket.getPeerCertificate();
    if (subject) clients.push(subject.CN);
  });
  const subprotocols = { handleProtocols: (offered: Set<string>) => (offered.has("mqtt") ? "mqtt" : false) };
  new WebSocketServer({ server: http, path: "/mqtt", ...subprotocols }).on("connection", (socket) => {
    const outside = createWebSocketStream(socket);
    const inside = connect(brokerPort, "127.0.0.1");
    for (const one of [outside, inside]) one.on("error", () => undefined);
    outside.pipe(inside).pipe(outside);
    outside.on("close", () => inside.destroy());
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    port: (http.address() as AddressInfo).port,
    clients,
    stop: async () => {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
}
