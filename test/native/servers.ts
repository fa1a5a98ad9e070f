/** Servers for the native tests: a real mosquitto with an mTLS and a PSK listener, and TLS servers that show any chain. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TlsOptions, type TLSSocket, createServer as createTlsServer } from "node:tls";

const START_ATTEMPTS = 5;

export interface MosquittoFiles {
  clientAnchorsPem: string;
  crlPem: string;
  serverChainPem: string;
  serverKeyPem: string;
  /** identity -> key in hex */
  psks: Readonly<Record<string, string>>;
}

export interface Mosquitto {
  mtlsPort: number;
  pskPort: number;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = createConnection(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function configuration(folder: string, mtlsPort: number, pskPort: number): string {
  return [
    "allow_anonymous true",
    `psk_file ${folder}/psk`,
    "set_tcp_nodelay true",
    "persistence false",
    // Started by root it would give root up and could not read the folder any more; nobody else's start minds the line.
    "user root",
    `listener ${mtlsPort} 127.0.0.1`,
    `cafile ${folder}/clients.pem`,
    `crlfile ${folder}/crl.pem`,
    `certfile ${folder}/server.pem`,
    `keyfile ${folder}/server.key`,
    "require_certificate true",
    `listener ${pskPort} 127.0.0.1`,
    "psk_hint hawser",
    "use_identity_as_username true",
    "",
  ].join("\n");
}

/** mosquitto says on standard error that it runs; it ends at once when a port was taken meanwhile. */
async function isRunning(child: ChildProcess, ports: readonly number[], log: string[]): Promise<boolean> {
  const started = new Promise<boolean>((resolve) => {
    child.stderr?.on("data", (chunk) => log.push(String(chunk)) && String(chunk).includes(" running") && resolve(true));
    child.on("exit", () => resolve(false));
    child.on("error", () => resolve(false));
  });
  return (await started) && (await Promise.all(ports.map(answers))).every(Boolean);
}

export async function startMosquitto(files: MosquittoFiles): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-mosquitto-"));
  await writeFile(join(folder, "clients.pem"), files.clientAnchorsPem);
  await writeFile(join(folder, "crl.pem"), files.crlPem);
  await writeFile(join(folder, "server.pem"), files.serverChainPem);
  await writeFile(join(folder, "server.key"), files.serverKeyPem, { mode: 0o600 });
  await writeFile(
    join(folder, "psk"),
    Object.entries(files.psks)
      .map(([name, key]) => `${name}:${key}\n`)
      .join(""),
    { mode: 0o600 },
  );
  const log: string[] = [];
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const mtlsPort = await freePort();
    const pskPort = await freePort();
    await writeFile(join(folder, "mosquitto.conf"), configuration(folder, mtlsPort, pskPort));
    const child = spawn("/usr/sbin/mosquitto", ["-v", "-c", join(folder, "mosquitto.conf")], { stdio: ["ignore", "ignore", "pipe"] });
    const exited = once(child, "exit").catch(() => undefined);
    const stop = async (): Promise<void> => {
      child.kill("SIGKILL");
      await exited;
      await rm(folder, { recursive: true, force: true });
    };
    if (await isRunning(child, [mtlsPort, pskPort], log)) return { mtlsPort, pskPort, stop };
    child.kill("SIGKILL");
    await exited;
  }
  await rm(folder, { recursive: true, force: true });
  throw new Error(`mosquitto did not start: ${log.join("").slice(-500)}`);
}

export interface TlsServer {
  port: number;
  /** The names clients asked for, in order; `false` for none. */
  names: (string | false)[];
  stop(): Promise<void>;
}

/** A TLS server of Node's OpenSSL. `serve` gets each finished handshake; by default it answers the first bytes with "ok". */
export async function startTlsServer(options: TlsOptions, serve?: (socket: TLSSocket) => void): Promise<TlsServer> {
  const sockets = new Set<TLSSocket>();
  const names: (string | false)[] = [];
  const server = createTlsServer(options, (socket) => {
    sockets.add(socket);
    names.push((socket as TLSSocket & { servername: string | false }).servername);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    (serve ?? ((open) => open.once("data", () => open.write("ok"))))(socket);
  });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    names,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
