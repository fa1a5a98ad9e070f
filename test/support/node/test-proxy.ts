/** For tests: an HTTP proxy on Node's own server, which connects where it is asked to and remembers what it was asked. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type AddressInfo, type Socket } from "node:net";

export interface TestProxy {
  readonly port: number;
  /** `host:port` and the login, for each CONNECT. */
  readonly asked: { target: string; login: string | undefined }[];
  /** All that went through, both ways. */
  readonly seen: Buffer[];
  /** Connections that are open. */
  readonly open: Set<Socket>;
  stop(): Promise<void>;
}

export interface ProxyManners {
  /** Answers so instead of connecting. */
  status?: string;
  /** Where it really connects, whatever was asked. */
  leadsTo?: number;
  tls?: { cert: string; key: string };
  /** Never answers. */
  isMute?: boolean;
}

export async function startProxy(manners: ProxyManners = {}): Promise<TestProxy> {
  const server: Server = manners.tls ? createTlsServer(manners.tls) : createServer();
  const asked: TestProxy["asked"] = [];
  const seen: Buffer[] = [];
  const open = new Set<Socket>();
  server.on("connect", ({ url = "", headers }: IncomingMessage, client: Socket) => {
    open.add(client);
    client.on("close", () => open.delete(client)).on("error", () => undefined);
    asked.push({ target: url, login: headers["proxy-authorization"] });
    if (manners.isMute === true) return void client.resume().on("end", () => client.end());
    if (manners.status !== undefined) return void client.end(`HTTP/1.1 ${manners.status}\r\n\r\n`);
    const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(url) ?? [];
    const up = connect(manners.leadsTo ?? Number(port), host, () => client.write("HTTP/1.1 200 Connection established\r\n\r\n"));
    up.on("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    for (const one of [client, up]) one.on("data", (bytes) => seen.push(bytes));
    client.pipe(up).pipe(client);
    client.on("close", () => up.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    seen,
    open,
    stop: async () => {
      for (const socket of open) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
