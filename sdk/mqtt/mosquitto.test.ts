/** The client against a real mosquitto over plain TCP. */
import { spawn, type ChildProcess } from "node:child_process";
import { createServer, connect as tcpConnect, type AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../connection/failure.js";
import type { Link, LinkHandlers } from "../platform.js";
import { MqttClient, type MqttOptions } from "./index.js";

let broker: ChildProcess;
let directory: string;
let port: number;
const clients: MqttClient[] = [];

const platform = {
  clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now(), wallTrusted: () => true },
  scheduler: {
    after(delayMs: number, run: () => void) {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
  },
  random: { bytes: (size: number) => new Uint8Array(size).map(() => Math.random() * 256), fraction: () => Math.random() },
  log: () => undefined,
};

function dial(handlers: LinkHandlers): Link {
  const socket = tcpConnect({ port, host: "127.0.0.1", noDelay: true });
  let closedHere = false;
  let problem: Error | undefined;
  socket.on("connect", () => handlers.opened({ tlsVersion: "none", cipher: "", resumed: false }));
  socket.on("data", (bytes) => handlers.data(bytes));
  socket.on("drain", () => handlers.drain());
  socket.on("error", (error) => (problem = error));
  socket.on("close", () => handlers.ended(closedHere ? failure("CLOSED_LOCALLY", "closed") : failure("CONNECTION_CLOSED", problem?.message ?? "closed by the broker")));
  return {
    write: (bytes) => socket.write(bytes),
    close: () => {
      closedHere = true;
      socket.end();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: found } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return found;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "hawser-mqtt-"));
  port = await freePort();
  const config = join(directory, "mosquitto.conf");
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_packet_size 200000\n`);
  broker = spawn("/usr/sbin/mosquitto", ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    broker.stderr?.on("data", (text: Buffer) => text.toString().includes("running") && resolve());
    broker.on("exit", (code) => reject(new Error(`mosquitto ended with ${code}`)));
  });
});

afterAll(async () => {
  for (const client of clients) await client.disconnect();
  broker.kill();
  rmSync(directory, { recursive: true, force: true });
});

let count = 0;
function makeClient(options: Partial<MqttOptions> = {}): MqttClient {
  const client = new MqttClient(
    { clientId: `client-${process.pid}-${count++}`, protocolVersion: 5, cleanStart: true, keepAliveSeconds: 30, connackTimeoutMs: 10_000, ...options },
    platform,
  );
  clients.push(client);
  return client;
}

describe.each([4, 5] as const)("against mosquitto in protocol version %i", (protocolVersion) => {
  test.each([0, 1, 2] as const)("messages of QoS %i go out and come back, in order", async (qos) => {
    const client = makeClient({ protocolVersion });
    await client.connect(dial);
    const subscription = client.subscribe(`flow/${protocolVersion}/${qos}/#`, { qos });
    expect(await subscription.granted).toBe(qos);
    const sent = Array.from({ length: 200 }, (_, n) => client.publish(`flow/${protocolVersion}/${qos}/${n % 3}`, `message ${n}`, { qos }));
    const received: string[] = [];
    for await (const message of subscription) {
      expect(message.qos).toBe(qos);
      if (received.push(message.text()) === 200) break;
    }
    await Promise.all(sent);
    expect(received).toEqual(Array.from({ length: 200 }, (_, n) => `message ${n}`));
    await client.disconnect();
    expect(client.connected).toBe(false);
  });
});
