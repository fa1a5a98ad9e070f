import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingHttpHeaders, RequestListener, Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { EXPIRED, TestCa } from "../../../test/support/node/test-pki.js";
import { Webhook } from "./webhook.js";
import type { WebhookOptions } from "./webhook.js";

const SECRET = Buffer.from("0123456789abcdef0123456789abcdef");
const MESSAGE = { id: "6b1d6f3c-8f0e-4f57-9f0a-0d0f4c1f2a11", body: '{"event":"alert","offender":"pump-é"}' };
const UNSTOPPED = new AbortController().signal;

interface Request {
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function serve(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

/** A listener that keeps what it is asked, and answers with a status and headers. */
function keeping(requests: Request[], status = 204, headers: Readonly<Record<string, string>> = {}): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      requests.push({ url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString("utf8") });
      response.writeHead(status, headers).end("ignored");
    });
  };
}

const hookAt = (url: string, options: Partial<WebhookOptions> = {}): Webhook =>
  new Webhook({ url: new URL(url), timeoutMs: 5000, userAgent: "hawser/test", ...options });

test("a message arrives as it is, signed so that its receiver can check who sent it and when", async () => {
  const requests: Request[] = [];
  const port = await serve(createServer(keeping(requests)));
  expect(await hookAt(`http://127.0.0.1:${port}/in?token=x`, { secret: SECRET }).send(MESSAGE, UNSTOPPED)).toEqual({ kind: "done" });
  const [{ url, headers, body }] = requests as [Request];
  expect([url, body]).toEqual(["/in?token=x", MESSAGE.body]);
  expect(headers).toMatchObject({ "content-type": "application/json", "hawser-delivery": MESSAGE.id, "user-agent": "hawser/test" });
  const [, seconds = "", mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers["hawser-signature"])) ?? [];
  expect(mac).toBe(createHmac("sha256", SECRET).update(`${seconds}.${body}`).digest("hex"));
  expect(Math.abs(Date.now() / 1000 - Number(seconds))).toBeLessThan(60);
});

test.each([
  [301, { location: "/elsewhere" }, { kind: "failed", reason: "it answered 301: redirects are not followed" }],
  [307, { location: "/elsewhere" }, { kind: "failed", reason: "it answered 307: redirects are not followed" }],
  [400, {}, { kind: "failed", reason: "it answered 400" }],
  [401, {}, { kind: "failed", reason: "it answered 401" }],
  [429, { "retry-after": "7" }, { kind: "retry", reason: "it answered 429", afterMs: 7000 }],
  [503, { "retry-after": "999999" }, { kind: "retry", reason: "it answered 503", afterMs: 300_000 }],
  [500, {}, { kind: "retry", reason: "it answered 500" }],
] as const)("an answer %i with %j is judged, and nothing else is asked", async (status, headers, outcome) => {
  const requests: Request[] = [];
  const port = await serve(createServer(keeping(requests, status, headers)));
  expect(await hookAt(`http://127.0.0.1:${port}/in`).send(MESSAGE, UNSTOPPED)).toEqual(outcome);
  expect(requests.map(({ url }) => url)).toEqual(["/in"]);
});

test("a server that answers by changing the protocol has not taken the message", async () => {
  const server = createServer().on("connection", (socket) => {
    socket.once("data", () => socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"));
  });
  const port = await serve(server);
  expect(await hookAt(`http://127.0.0.1:${port}/in`).send(MESSAGE, UNSTOPPED)).toEqual({ kind: "failed", reason: "it answered 101" });
});

test("a server that never answers is left after the time-out, and its address is not told", async () => {
  const port = await serve(createServer(() => undefined));
  const outcome = await hookAt(`http://127.0.0.1:${port}/secret-path`, { timeoutMs: 50 }).send(MESSAGE, UNSTOPPED);
  expect(outcome).toEqual({ kind: "retry", reason: "no answer within 0.05 s" });
});

test("nobody there is a reason to try again, and does not tell the path", async () => {
  const server = createServer();
  const port = await serve(server);
  server.close();
  await once(server, "close");
  const outcome = await hookAt(`http://127.0.0.1:${port}/secret-path`).send(MESSAGE, UNSTOPPED);
  expect(outcome).toEqual({ kind: "retry", reason: expect.stringContaining("ECONNREFUSED") as string });
  expect(JSON.stringify(outcome)).not.toContain("secret-path");
});

test("over TLS the server's certificate is judged by the CA given, whatever Node's environment says", async () => {
  const [ca, other] = [await TestCa.create("hooks"), await TestCa.create("others")];
  const requests: Request[] = [];
  const serveTls = async (validity = {}): Promise<string> => {
    const { chainPem, keyPem } = await ca.server(["localhost"], validity);
    return `https://localhost:${await serve(createTlsServer({ cert: chainPem, key: keyPem }, keeping(requests)))}/`;
  };
  const [good, expired] = [await serveTls(), await serveTls(EXPIRED)];
  const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  onTestFinished(() => {
    if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
  });
  for (const hook of [
    hookAt(good),
    hookAt(good, { ca: other.caPem }),
    hookAt(expired, { ca: ca.caPem }),
    hookAt(good.replace("localhost", "127.0.0.1"), { ca: ca.caPem }),
  ])
    expect((await hook.send(MESSAGE, UNSTOPPED)).kind).toBe("retry");
  expect(requests).toEqual([]);
  expect(await hookAt(good, { ca: ca.caPem }).send(MESSAGE, UNSTOPPED)).toEqual({ kind: "done" });
});
