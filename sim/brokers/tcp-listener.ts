/** Listening on a port of several addresses at once. */
import { createServer, type Server, type Socket } from "node:net";
import { HawserError } from "../../sdk/errors.js";

export interface TcpListener {
  port: number;
  /** Resolves when the port is free again; open connections are not its concern. */
  close(): Promise<void>;
}

/** Another process may hold the port on one address only: then a free port is looked for anew. */
const FREE_PORT_TRIES = 20;

/**
 * Listens on `port` of every host, without Nagle's delay. Port 0 takes one that is free on all of them. A host whose address family this
 * machine does not have is left out, unless it is the only one.
 * @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`
 */
export async function listenOn(hosts: readonly string[], port: number, onSocket: (socket: Socket) => void): Promise<TcpListener> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await listenOnce(hosts, port, onSocket);
    } catch (error) {
      const mayTryAnother = port === 0 && error instanceof HawserError && error.code === "PORT_IN_USE" && tries < FREE_PORT_TRIES;
      if (!mayTryAnother) throw error;
    }
  }
}

async function listenOnce(hosts: readonly string[], wantedPort: number, onSocket: (socket: Socket) => void): Promise<TcpListener> {
  const servers: Server[] = [];
  let port = wantedPort;
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
  };
  for (const [index, host] of hosts.entries()) {
    try {
      const server = await bind(host, port, onSocket);
      servers.push(server);
      port = portOf(server);
    } catch (error) {
      const isLast = index === hosts.length - 1;
      if (isAddressMissing(error) && (servers.length > 0 || !isLast)) continue;
      await close();
      throw listenError(error, host, port);
    }
  }
  return { port, close };
}

function bind(host: string, port: number, onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, onSocket);
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.removeListener("error", reject);
      server.on("error", () => undefined);
      resolve(server);
    });
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function isAddressMissing(error: unknown): boolean {
  return ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(codeOf(error));
}

function listenError(error: unknown, host: string, port: number): HawserError {
  const where = `${host} port ${port}`;
  if (codeOf(error) === "EADDRINUSE") {
    return new HawserError(
      "PORT_IN_USE",
      `${where} is in use by another program`,
      "Stop that program, or choose another port (0 picks a free one).",
    );
  }
  if (codeOf(error) === "EACCES") {
    return new HawserError(
      "LISTEN_FAILED",
      `no permission to listen on ${where}`,
      "Choose a port above 1023, or run with permission to bind low ports.",
    );
  }
  return new HawserError(
    "LISTEN_FAILED",
    `cannot listen on ${where} (${codeOf(error) || "unknown error"})`,
    "Check that the address belongs to this machine.",
  );
}
