import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import mqttPacket, { type Packet } from "mqtt-packet";
import { describe, expect, it, onTestFinished } from "vitest";
import { FaultProxy } from "./fault-proxy.js";
import { ProxyControl } from "./proxy-control.js";
import { readToxic } from "./toxics.js";

/** A broker's side that tells each connection it gets to `serve`. */
async function server(serve: (socket: Socket) => void): Promise<number> {
  const listening = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    serve(socket);
  }).listen(0, "127.0.0.1");
  await once(listening, "listening");
  onTestFinished(() => void listening.close());
  return (listening.address() as AddressInfo).port;
}

const echo = (): Promise<number> => server((socket) => socket.on("data", (bytes) => socket.write(bytes)));

async function proxied(port: number, toxics: readonly object[] = [], more: { mqtt?: boolean; seed?: string } = {}): Promise<FaultProxy> {
  const proxy = new FaultProxy({
    name: "p",
    listen: { host: "127.0.0.1", port: 0 },
    upstream: { host: "127.0.0.1", port },
    seed: "s",
    ...more,
  });
  for (const toxic of toxics) proxy.add(readToxic(toxic));
  await proxy.start();
  onTestFinished(() => proxy.stop());
  return proxy;
}

async function client(proxy: FaultProxy): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: proxy.port, allowHalfOpen: true });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  return socket;
}

async function received(socket: Socket, bytes: number): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    count += chunk.length;
    if (count >= bytes) break;
  }
  return performance.now() - startMs;
}

describe("a fault proxy, measured by a client of its own", () => {
  it("answers as a captive portal does, ends what stood before it, and lets through again when it is gone", async () => {
    let reached = 0;
    const proxy = await proxied(
      await server((socket) => {
        socket.on("data", (bytes) => {
          reached += bytes.length;
          socket.write(bytes);
        });
      }),
    );
    const before = await client(proxy);
    before.write("x");
    await received(before, 1);
    proxy.add(readToxic({ type: "captive_portal" }));
    if (!before.destroyed) await once(before, "close");
    const late = await client(proxy);
    late.write("hello");
    const heard: Buffer[] = [];
    for await (const chunk of late as AsyncIterable<Buffer>) heard.push(chunk);
    expect(Buffer.concat(heard).toString()).toMatch(/^HTTP\/1\.1 302 /);
    expect(reached).toBe(1);
    proxy.removeAll();
    const after = await client(proxy);
    after.write("y");
    await received(after, 1);
    expect(reached).toBe(2);
  });

  it("passes bytes as they are where it has no toxic", async () => {
    const socket = await client(await proxied(await echo()));
    const sent = Buffer.alloc(300_000, "x");
    socket.write(sent);
    await received(socket, sent.length);
  });

  it("delays by latency and jitter, in each direction", async () => {
    const latency = { type: "latency", attributes: { latency: 150, jitter: 20 } };
    const socket = await client(await proxied(await echo(), [latency, { ...latency, stream: "upstream" }]));
    socket.write("ping");
    expect(await received(socket, 4)).toBeGreaterThan(255);
  });

  it("keeps to a bandwidth", async () => {
    const socket = await client(await proxied(await echo(), [{ type: "bandwidth", attributes: { rate: 100 } }]));
    socket.write(Buffer.alloc(40_000));
    expect(await received(socket, 40_000)).toBeGreaterThan(330);
  });

  it("resets the connection after its time", async () => {
    const socket = await client(await proxied(await echo(), [{ type: "reset_peer", attributes: { timeout: 50 } }]));
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");
  });

  it("is a black hole while timeout is 0, and lets go of what waited when the toxic goes", async () => {
    const proxy = await proxied(await echo(), [{ type: "timeout", name: "hole" }]);
    const socket = await client(proxy);
    let heard = 0;
    const first = once(socket, "data");
    socket.on("data", (bytes: Buffer) => (heard += bytes.length));
    socket.write("ping");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(heard).toBe(0);
    proxy.remove("hole");
    await first;
    expect(heard).toBe(4);
  });

  it("closes after a timeout that is not 0", async () => {
    const socket = await client(await proxied(await echo(), [{ type: "timeout", attributes: { timeout: 50 } }]));
    socket.resume();
    await once(socket, "end");
  });

  it("closes slowly", async () => {
    const port = await server((socket) => socket.end("bye"));
    const socket = await client(await proxied(port, [{ type: "slow_close", attributes: { delay: 200 } }]));
    const startMs = performance.now();
    socket.resume();
    await once(socket, "end");
    expect(performance.now() - startMs).toBeGreaterThan(190);
  });

  it("leaves a connection half open: the broker is gone and nobody says so", async () => {
    let tell: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (tell = resolve));
    const port = await server((socket) => {
      socket.once("data", () => socket.end());
      socket.once("finish", () => tell());
    });
    const socket = await client(await proxied(port, [{ type: "half_open" }]));
    let isOver = false;
    socket.once("end", () => (isOver = true));
    socket.resume();
    socket.write("x");
    await ended;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([isOver, socket.writable]).toEqual([false, true]);
  });

  it("slices, and stops at a limit", async () => {
    const socket = await client(
      await proxied(await echo(), [
        { type: "slicer", attributes: { average_size: 10, delay: 1 } },
        { type: "limit_data", attributes: { bytes: 50 } },
      ]),
    );
    socket.write(Buffer.alloc(100));
    let count = 0;
    socket.on("data", (bytes: Buffer) => (count += bytes.length));
    await once(socket, "end");
    expect(count).toBe(50);
  });

  it("draws which connections a toxic works on from its seed", async () => {
    const hits = async (seed: string): Promise<string> => {
      const proxy = await proxied(
        await echo(),
        [
          { type: "reset_peer", toxicity: 0.5 },
          { type: "latency", attributes: { latency: 100 } },
        ],
        { seed },
      );
      let text = "";
      for (let n = 0; n < 12; n++) {
        const socket = await client(proxy);
        socket.write("a");
        text += await new Promise<string>((resolve) => {
          socket.once("close", () => resolve("x"));
          socket.once("data", () => resolve("."));
        });
        socket.destroy();
      }
      return text;
    };
    const first = await hits("one");
    expect(await hits("one")).toBe(first);
    expect(first).toContain("x");
    expect(first).toContain(".");
  });
});

/** A broker that takes all, and a client: both mqtt-packet, which is not the proxy's code. */
async function conversation(
  toxics: readonly object[],
  protocolVersion: 4 | 5 = 5,
): Promise<{ send(packet: object): void; heard: Packet[]; next(): Promise<Packet>; closed: Promise<unknown> }> {
  const port = await server((socket) => {
    const parser = mqttPacket.parser({ protocolVersion });
    parser.on("packet", (packet: Packet) => {
      const answer = (of: object): void => void socket.write(mqttPacket.generate(of as Packet, { protocolVersion }));
      if (packet.cmd === "connect") answer({ cmd: "connack", reasonCode: 0, returnCode: 0, sessionPresent: false });
      if (packet.cmd === "publish") answer({ cmd: "puback", messageId: packet.messageId });
    });
    socket.on("data", (bytes) => parser.parse(bytes));
  });
  const socket = await client(await proxied(port, toxics, { mqtt: true }));
  const heard: Packet[] = [];
  const waiting: (() => void)[] = [];
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on("packet", (packet: Packet) => {
    heard.push(packet);
    waiting.splice(0).forEach((wake) => wake());
  });
  socket.on("data", (bytes) => parser.parse(bytes));
  let taken = 0;
  const send = (packet: object): void => void socket.write(mqttPacket.generate(packet as Packet, { protocolVersion }));
  const next = async (): Promise<Packet> => {
    while (heard.length <= taken) await new Promise<void>((resolve) => waiting.push(resolve));
    return heard[taken++]!;
  };
  send({ cmd: "connect", protocolId: "MQTT", protocolVersion, clientId: "c", clean: true, keepalive: 60 });
  return { send, heard, next, closed: once(socket, "end") };
}

const publish = (messageId: number): object => ({ cmd: "publish", topic: "t", payload: "x", qos: 1, messageId, dup: false, retain: false });

describe("faults of MQTT", () => {
  it("drop the second PUBACK and double the third", async () => {
    const { send, next } = await conversation([
      { type: "mqtt_drop", attributes: { packet: "puback", skip: 1, count: 1 } },
      { type: "mqtt_duplicate", attributes: { packet: "puback", skip: 2, count: 1 } },
    ]);
    expect((await next()).cmd).toBe("connack");
    for (const id of [1, 2, 3, 4]) send(publish(id));
    const ids = [await next(), await next(), await next(), await next()].map((packet) => packet.messageId);
    expect(ids).toEqual([1, 3, 3, 4]);
  });

  it("delay the CONNACK", async () => {
    const startMs = performance.now();
    const { next } = await conversation([{ type: "mqtt_delay", attributes: { packet: "connack", delay: 200 } }]);
    await next();
    expect(performance.now() - startMs).toBeGreaterThan(195);
  });

  it.each([4, 5] as const)("say wrongly that there is a session, to MQTT version %i", async (version) => {
    const { next } = await conversation([{ type: "mqtt_session_present", attributes: { value: true } }], version);
    expect(await next()).toMatchObject({ cmd: "connack", sessionPresent: true });
  });

  it("end the connection with a reason in the place of a packet", async () => {
    const { send, next, closed } = await conversation([
      { type: "mqtt_disconnect", stream: "downstream", attributes: { packet: "puback", reason: 0x97 } },
    ]);
    await next();
    send(publish(1));
    expect(await next()).toMatchObject({ cmd: "disconnect", reasonCode: 0x97 });
    await closed;
  });
});

describe("the proxy's HTTP control", () => {
  it("speaks Toxiproxy's calls, and refuses what is wrong with a reason", async () => {
    const control = new ProxyControl("s", "test");
    const port = await control.start("127.0.0.1", 0);
    onTestFinished(() => control.stop());
    const call = async (
      method: string,
      path: string,
      body?: unknown,
      headers: Record<string, string> = {},
    ): Promise<{ status: number; body: unknown }> => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const text = await answer.text();
      return { status: answer.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
    };
    expect(await call("GET", "/version")).toEqual({ status: 200, body: { version: "test" } });
    const upstream = `127.0.0.1:${await echo()}`;
    const made = await call("POST", "/proxies", { name: "b", listen: "127.0.0.1:0", upstream });
    expect(made).toMatchObject({ status: 201, body: { name: "b", enabled: true } });
    const listen = Number((made.body as { listen: string }).listen.split(":")[1]);
    expect((await call("POST", "/proxies", { name: "b", listen: "127.0.0.1:0", upstream })).status).toBe(409);
    expect(await call("POST", "/proxies/b/toxics", { type: "latency", attributes: { latency: 100 } })).toMatchObject({
      status: 200,
      body: { name: "latency_downstream" },
    });
    expect(await call("POST", "/proxies/b/toxics/latency_downstream", { attributes: { latency: 300 } })).toMatchObject({
      status: 200,
      body: { attributes: { latency: 300, jitter: 0 } },
    });
    const socket = connect(listen, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("ping");
    expect(await received(socket, 4)).toBeGreaterThan(290);
    expect((await call("POST", "/proxies/b", { enabled: false })).body).toMatchObject({ enabled: false });
    const refused = connect(listen, "127.0.0.1");
    expect(((await once(refused, "error")) as [NodeJS.ErrnoException])[0].code).toBe("ECONNREFUSED");
    expect((await call("POST", "/reset")).status).toBe(204);
    expect((await call("GET", "/proxies")).body).toMatchObject({ b: { enabled: true, toxics: [] } });
    expect((await call("POST", "/proxies/b/toxics", { type: "nonsense" })).status).toBe(400);
    expect((await call("POST", "/proxies/b/toxics", { type: "latency", attributes: { latency: -1 } })).status).toBe(400);
    expect((await call("POST", "/proxies/b/toxics", { type: "mqtt_drop" })).status).toBe(400);
    expect((await call("POST", "/proxies/b/toxics", "{")).status).toBe(400);
    expect((await call("POST", "/proxies", { name: "c", listen: "x", upstream })).status).toBe(400);
    expect((await call("GET", "/proxies/nobody")).status).toBe(404);
    expect((await call("GET", "/proxies", undefined, { origin: "http://example.com" })).status).toBe(403);
    expect((await call("DELETE", "/proxies/b")).status).toBe(204);
  });
});
