/** A real mosquitto on loopback for this folder's tests. Not part of the product. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

export interface TestMosquitto {
  /** Has it read its files again (SIGHUP). */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts mosquitto with the configuration lines and files, in a directory of its own below `room`; ready when this resolves. */
export async function startMosquitto(
  room: string,
  name: string,
  files: Readonly<Record<string, string>>,
  lines: readonly string[],
): Promise<TestMosquitto> {
  const directory = join(room, name);
  mkdirSync(directory);
  for (const [file, content] of Object.entries(files)) writeFileSync(join(directory, file), content, { mode: 0o600 });
  // As root mosquitto would become the user mosquitto, who cannot read the files.
  writeFileSync(
    join(directory, "mosquitto.conf"),
    ["per_listener_settings true", "user root", "set_tcp_nodelay true", ...lines].join("\n"),
  );
  const child = spawn("/usr/sbin/mosquitto", ["-c", "mosquitto.conf"], { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
  const killAtExit = (): void => void child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const ended = once(child, "exit");
  await isRunning(child.stderr);
  return {
    reload: async () => {
      const told = says(child.stderr, /Reloading config/);
      child.kill("SIGHUP");
      await told;
    },
    stop: async () => {
      process.off("exit", killAtExit);
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** A listener for certificates, whose names are its clients' user names; the files are `ca.pem`, `server.pem` and `server.key`. */
export function mtlsListener(port: number): string[] {
  const files = ["cafile ca.pem", "certfile server.pem", "keyfile server.key"];
  return [`listener ${port} 127.0.0.1`, ...files, "require_certificate true", "use_identity_as_username true"];
}

/** A port that was free a moment ago, for servers that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function isRunning(log: NodeJS.ReadableStream): Promise<void> {
  return says(log, /mosquitto version \S+ running/);
}

function says(log: NodeJS.ReadableStream, wanted: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    log.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (wanted.test(text)) resolve();
    });
    log.on("end", () => reject(new Error(`mosquitto did not say ${String(wanted)}: ${text}`)));
  });
}
