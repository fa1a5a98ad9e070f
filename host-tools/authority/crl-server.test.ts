import { connect } from "node:net";
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startCrlServer } from "./crl-server.js";
import type { CrlServer } from "./crl-server.js";

const list = {
  der: Uint8Array.of(0x30, 0x03, 1, 2, 3),
  etag: '"abc"',
  thisUpdateMs: 1_700_000_000_000,
  nextUpdateMs: Date.now() + 86_400_000,
};

describe("the server of revocation lists", () => {
  let server: CrlServer;
  let url: string;
  beforeAll(async () => {
    server = await startCrlServer(0, "127.0.0.1", () => new Map([["/5a.crl", list]]));
    url = `http://127.0.0.1:${server.port}`;
  });
  afterAll(() => server.close());

  it("answers GET with the list, HEAD with its size, and who has it with 304", async () => {
    const answer = await fetch(`${url}/behind/a/proxy/5a.crl?x`);
    expect([answer.status, answer.headers.get("content-type"), new Uint8Array(await answer.arrayBuffer())]).toEqual([
      200,
      "application/pkix-crl",
      list.der,
    ]);
    expect([answer.headers.get("etag"), answer.headers.get("cache-control")]).toEqual(['"abc"', "public, max-age=60"]);
    const head = await fetch(`${url}/5a.crl`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), (await head.arrayBuffer()).byteLength]).toEqual([200, "5", 0]);
    for (const known of ['"abc"', 'W/"abc"', '"other", "abc"', "*"]) {
      const again = await fetch(`${url}/5a.crl`, { headers: { "if-none-match": known } });
      expect([known, again.status, (await again.arrayBuffer()).byteLength]).toEqual([known, 304, 0]);
    }
    expect((await fetch(`${url}/5a.crl`, { headers: { "if-none-match": '"older"' } })).status).toBe(200);
  });

  it("has nothing else, and takes nothing", async () => {
    for (const path of ["/", "/5a", "/5a.crl/", "/..%2f..%2fetc%2fpasswd", "/ca.json"]) expect((await fetch(url + path)).status).toBe(404);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      const answer = await fetch(`${url}/5a.crl`, { method, ...(method === "POST" || method === "PUT" ? { body: "x".repeat(100) } : {}) });
      expect([method, answer.status, answer.headers.get("allow")]).toEqual([method, 405, "GET, HEAD"]);
    }
    expect((await fetch(`${url}/5a.crl`, { headers: { cookie: "x".repeat(5000) } })).status).toBe(431);
  });

  it("refuses a port that is taken, with the advice to choose another", async () => {
    await expect(startCrlServer(server.port, "127.0.0.1", () => new Map())).rejects.toMatchObject({ code: "PORT_IN_USE" });
  });
});

it("a server of revocation lists ends connections that are silent, slow, or too many", { timeout: 60_000 }, async () => {
  const server = await startCrlServer(0, "127.0.0.1", () => new Map([["/5a.crl", list]]), undefined, 500);
  onTestFinished(() => server.close());
  const open = (text = ""): { socket: Socket; closed: Promise<unknown> } => {
    const socket = connect(server.port, "127.0.0.1", () => socket.write(text)).on("error", () => undefined);
    return { socket: socket.resume(), closed: new Promise((resolve) => socket.once("close", resolve)) };
  };
  await open().closed;
  const slow = open("GET /5a.crl HTTP/1.1\r\nHost: x\r\n");
  const drip = setInterval(() => slow.socket.write("X: y\r\n"), 50);
  onTestFinished(() => clearInterval(drip));
  await slow.closed;
  await Promise.all(Array.from({ length: 80 }, () => open().closed));
  expect((await fetch(`http://127.0.0.1:${server.port}/5a.crl`)).status).toBe(200);
});
