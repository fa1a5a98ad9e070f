/** For tests: microsocks, a real SOCKS5 server; and a server that answers with given bytes, for what a real one never says. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { freePort } from "./test-mosquitto.js";

export interface TestSocksProxy {
  readonly port: number;
  /** What microsocks says of each connection: from where, and where to. */
  readonly lines: readonly string[];
  /** Waits for a line. */
  line(fits: RegExp): Promise<string>;
  stop(): Promise<void>;
}

export async function startMicrosocks(login?: { user: string; password: string }): Promise<TestSocksProxy> {
  const port = await freePort();
  const words = login ? ["-u", login.user, "-P", login.password] : [];
  const child = spawn("microsocks", ["-i", "127.0.0.1", "-p", String(port), ...words], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit");
  const lines: string[] = [];
  const output = createInterface({ input: child.stderr });
  output.on("line", (line) => lines.push(line));
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`microsocks ended with ${child.exitCode}`);
    await setTimeout(20);
  }
  return {
    port,
    lines,
    async line(fits) {
      for (;;) {
        const found = lines.find((line) => fits.test(line));
        if (found !== undefined) return found;
        await once(output, "line");
      }
    },
    async stop() {
      child.kill();
      await ended;
    },
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.destroy() && resolve(true)).on("error", () => resolve(false));
  });
}

export interface ScriptedProxy {
  readonly port: number;
  /** All that it was told. */
  readonly told: Buffer[];
  readonly open: Set<Socket>;
  stop(): void;
}

/** Answers each thing it is told with the next of `answers`, byte by byte; closes the connection where none is left. */
export async function scriptedProxy(answers: readonly (readonly number[])[]): Promise<ScriptedProxy> {
  const told: Buffer[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    let next = 0;
    open.add(socket);
    socket.setNoDelay(true).on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    socket.on("data", (bytes) => {
      told.push(bytes);
      const answer = answers[next++];
      if (answer === undefined) return void socket.end();
      for (const byte of answer) socket.write(Buffer.from([byte]));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    told,
    open,
    stop() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
