import { createPublicKey, verify } from "node:crypto";
import type { JsonWebKey } from "node:crypto";
import { request } from "node:http";
import { Agent } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { makeToken } from "../../sdk/identity/token.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { PolicyEngine } from "../policy/policy-engine.js";
import { hashPassword } from "../policy/password.js";
import { parsePolicy } from "../policy/policy-file.js";
import { directoryOf } from "../policy/policy-model.js";
import type { Principal } from "../policy/policy-model.js";
import { startDecisionServer } from "./decision-server.js";
import type { DecisionServer, DecisionServerOptions } from "./decision-server.js";

const POLICY = `
version: 1
name: asked
attributes: { site: {} }
listeners:
  mtls: { port: 8883, requires: [certificate] }
  web: { port: 8443, requires: [password] }
classes:
  device: { base: "devices/{id}", channels: { up: { topic: up/#, direction: up, qos: 1, retain: false }, down: { topic: down/#, direction: down } } }
roles:
  device: { for: devices, class: device }
  fitter:
    grants:
      - { allow: write, channels: [device.down], when: { times: [{ days: [mon], from: "08:00", to: "17:00" }], networks: [10.0.0.0/8] } }
`;

const MONDAY_MS = Date.parse("2027-03-01T12:00:00Z");
const names: Principal[] = [
  { name: "dev1", kind: "device", role: "device", attributes: {}, active: true, recoverable: true, passwordHash: hashPassword("good") },
  { name: "fit", kind: "client", role: "fitter", attributes: {}, active: true, recoverable: false },
];
const engine = new PolicyEngine(parsePolicy(POLICY, "p"), directoryOf(names));

let server: DecisionServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function start(options: Partial<DecisionServerOptions> = {}): Promise<string> {
  server = await startDecisionServer(() => engine, { port: 0, now: () => MONDAY_MS, ...options });
  return `http://127.0.0.1:${server.port}`;
}

async function post(
  url: string,
  body: Record<string, unknown> | URLSearchParams,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string; cache: string | null }> {
  const isForm = body instanceof URLSearchParams;
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json", ...headers },
    body: isForm ? body.toString() : JSON.stringify(body),
  });
  return { status: response.status, text: await response.text(), cache: response.headers.get("cache-control") };
}

const form = (fields: Record<string, string>): URLSearchParams => new URLSearchParams(fields);

describe("the decision point", () => {
  it("speaks EMQX's dialect", async () => {
    const base = `${await start()}/emqx`;
    const enter = async (fields: Record<string, string>, listener = ""): Promise<unknown> =>
      JSON.parse((await post(`${base}/authn${listener}`, fields)).text);
    expect(await enter({ username: "dev1", clientid: "dev1", cert_common_name: "dev1" })).toEqual({ result: "allow", is_superuser: false });
    expect(await enter({ username: "dev1", clientid: "fit", cert_common_name: "dev1" })).toEqual({ result: "deny" });
    expect(await enter({ username: "fit", clientid: "x", cert_common_name: "dev1" })).toEqual({ result: "deny" });
    expect(await enter({ username: "dev1", clientid: "dev1" })).toEqual({ result: "deny" });
    expect(await enter({ username: "dev1", clientid: "dev1", password: "good" }, "?listener=web")).toEqual({
      result: "allow",
      is_superuser: false,
    });
    expect(await enter({ username: "dev1", clientid: "dev1", password: "bad" }, "?listener=web")).toEqual({ result: "deny" });
    const ask = async (fields: Record<string, unknown>): Promise<string> =>
      (JSON.parse((await post(`${base}/authz`, { username: "dev1", ...fields })).text) as { result: string }).result;
    expect(await ask({ action: "publish", topic: "devices/dev1/up/t", qos: "1", retain: "false" })).toBe("allow");
    expect(await ask({ action: "publish", topic: "devices/dev1/up/t", qos: "2" })).toBe("deny");
    expect(await ask({ action: "publish", topic: "devices/dev1/up/t", retain: true })).toBe("deny");
    expect(await ask({ action: "subscribe", topic: "devices/#" })).toBe("deny");
    expect(await ask({ action: "all", topic: "devices/dev1/up/t" })).toBe("deny");
  });

  it("speaks NanoMQ's dialect, and believes no name that is not the certificate's", async () => {
    const base = `${await start()}/nanomq`;
    const ask = async (path: string, fields: Record<string, string>): Promise<number> =>
      (await post(`${base}/${path}`, form(fields))).status;
    expect(await ask("auth", { cn: "dev1", username: "dev1", clientid: "dev1" })).toBe(200);
    expect(await ask("auth", { cn: "dev1", username: "fit", clientid: "x" })).toBe(401);
    expect(await ask("auth", { cn: "undefined", username: "dev1" })).toBe(401);
    expect(await ask("super", { cn: "dev1", username: "dev1" })).toBe(401);
    expect(await ask("acl", { cn: "dev1", username: "dev1", access: "2", topic: "devices/dev1/up/t" })).toBe(200);
    expect(await ask("acl", { cn: "dev1", username: "dev1", access: "1", topic: "devices/dev1/up/t" })).toBe(401);
    expect(await ask("acl", { cn: "fit", username: "dev1", access: "2", topic: "devices/dev1/up/t" })).toBe(401);
  });

  it("speaks RabbitMQ's dialect", async () => {
    const base = `${await start()}/rabbitmq`;
    const ask = async (path: string, fields: Record<string, string>): Promise<string> =>
      (await post(`${base}/${path}`, form({ vhost: "/", ...fields }))).text;
    expect(await ask("user", { username: "dev1", client_id: "dev1" })).toBe("allow");
    expect(await ask("user", { username: "dev1", client_id: "fit" })).toBe("deny");
    expect(await ask("vhost", { username: "dev1", vhost: "other" })).toBe("deny");
    expect(
      await ask("resource", { username: "dev1", resource: "queue", name: "mqtt-subscription-dev1qos1", permission: "configure" }),
    ).toBe("allow");
    expect(await ask("resource", { username: "dev1", resource: "queue", name: "mqtt-subscription-fitqos1", permission: "read" })).toBe(
      "deny",
    );
    expect(await ask("resource", { username: "dev1", resource: "exchange", name: "amq.default", permission: "write" })).toBe("deny");
    expect(await ask("topic", { username: "dev1", name: "amq.topic", permission: "write", routing_key: "devices.dev1.up.t" })).toBe(
      "allow",
    );
    expect(await ask("topic", { username: "dev1", name: "amq.topic", permission: "read", routing_key: "devices.*.down.#" })).toBe("deny");
    expect(await (await fetch(`${base}/user?username=dev1&client_id=dev1&vhost=/`)).text()).toBe("allow");
  });

  it("speaks VerneMQ's webhooks, and judges each filter of a subscription by itself", async () => {
    const url = `${await start({ cacheSeconds: 30 })}/vernemq`;
    const ask = async (hook: string, fields: Record<string, unknown>): Promise<unknown> =>
      JSON.parse((await post(url, fields, { "vernemq-hook": hook })).text);
    expect(await ask("auth_on_register", { username: "dev1", client_id: "dev1" })).toEqual({ result: "ok" });
    expect(await ask("auth_on_register_m5", { username: "nobody", client_id: "x" })).toEqual({ result: { error: "not_allowed" } });
    expect(await ask("auth_on_publish", { username: "dev1", topic: "devices/dev1/up/t", qos: 1, retain: false })).toEqual({ result: "ok" });
    expect(
      await ask("auth_on_subscribe", {
        username: "dev1",
        topics: [
          { topic: "devices/dev1/down/#", qos: 1 },
          { topic: "#", qos: 0 },
        ],
      }),
    ).toEqual({
      result: "ok",
      topics: [
        { topic: "devices/dev1/down/#", qos: 1 },
        { topic: "#", qos: 128 },
      ],
    });
    expect(await ask("auth_on_subscribe", { username: "dev1", topics: [{ topic: "#", qos: 0 }] })).toEqual({
      result: { error: "not_allowed" },
    });
    expect((await post(url, { username: "dev1", client_id: "dev1" }, { "vernemq-hook": "auth_on_register" })).cache).toBe("max-age=30");
    expect((await post(url, {}, { "vernemq-hook": "on_client_wakeup" })).status).toBe(404);
  });

  it("knows the time and the address", async () => {
    let nowMs = MONDAY_MS;
    const base = `${await start({ now: () => nowMs })}/emqx/authz`;
    const ask = async (peerhost: string): Promise<string> =>
      (
        JSON.parse((await post(base, { username: "fit", action: "publish", topic: "devices/dev1/down/x", peerhost })).text) as {
          result: string;
        }
      ).result;
    expect(await ask("10.1.1.1")).toBe("allow");
    expect(await ask("11.1.1.1")).toBe("deny");
    nowMs += 86_400_000;
    expect(await ask("10.1.1.1")).toBe("deny");
  });

  it("denies what it does not understand", async () => {
    const base = await start();
    expect((await post(`${base}/emqx/authn`, { username: { $gt: "" } })).text).toBe('{"result":"deny"}');
    expect((await fetch(`${base}/emqx/authz`, { method: "POST", headers: { "content-type": "application/json" }, body: "{" })).status).toBe(
      200,
    );
    expect((await fetch(`${base}/nothing`)).status).toBe(404);
    const tooMuch = await fetch(`${base}/emqx/authz`, { method: "POST", body: "x".repeat(300_000) }).then(
      ({ status }) => status,
      () => 413,
    );
    expect(tooMuch).toBe(413);
  });

  it("answers beyond loopback only with TLS and a secret, and to those who know it", async () => {
    await expect(startDecisionServer(() => engine, { port: 0, host: "0.0.0.0" })).rejects.toMatchObject({ code: "BAD_CONFIG" });
    await expect(startDecisionServer(() => engine, { port: 0, secret: "short" })).rejects.toMatchObject({ code: "BAD_CONFIG" });
    const secret = "0123456789abcdef";
    const base = await start({ secret });
    expect((await post(`${base}/nanomq/auth`, form({ cn: "dev1", username: "dev1" }))).status).toBe(401);
    expect((await post(`${base}/nanomq/auth`, form({ cn: "dev1", username: "dev1" }), { authorization: `Bearer ${secret}` })).status).toBe(
      200,
    );
  });

  it("serves the public keys that tokens are judged by: of one name, or of all who are let in", async () => {
    const keys = memoryKeyStore();
    keys.generate("key-a");
    const publicKeyPem = createPublicKey({ key: Buffer.from(keys.publicKey("key-a")), format: "der", type: "spki" })
      .export({ format: "pem", type: "spki" })
      .toString();
    const many = Array.from({ length: 120 }, (_, index): Principal => ({
      ...names[0]!,
      name: `dev${index}`,
      active: index !== 7,
      ...(index === 9 ? {} : { publicKeyPems: () => [publicKeyPem] }),
    }));
    const secret = "0123456789abcdef";
    const { port } = (server = await startDecisionServer(() => new PolicyEngine(parsePolicy(POLICY, "p"), directoryOf(many)), {
      port: 0,
      secret,
    }));
    const get = (path: string, headers = { authorization: `Bearer ${secret}` }): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}/jwks${path}`, { headers });
    const keySet = async (path: string): Promise<{ kid: string }[]> =>
      ((await (await get(path)).json()) as { keys: { kid: string }[] }).keys;
    const [key] = await keySet("/dev1");
    const token = makeToken(keys, "key-a", "dev1", { audience: "a", lifetimeSeconds: 60 }, MONDAY_MS);
    const [head = "", claims = "", signature = ""] = token.split(".");
    expect(JSON.parse(Buffer.from(head, "base64url").toString())).toMatchObject({ kid: key?.kid });
    const publicKey = createPublicKey({ key: key as JsonWebKey, format: "jwk" });
    expect(
      verify(
        "sha256",
        Buffer.from(`${head}.${claims}`),
        { key: publicKey, dsaEncoding: "ieee-p1363" },
        Buffer.from(signature, "base64url"),
      ),
    ).toBe(true);
    expect((await keySet("")).map(({ kid }) => kid)).toEqual(
      many.map(({ name }) => name).filter((name) => !["dev7", "dev9"].includes(name)),
    );
    expect([await keySet("/dev7"), await keySet("/dev9")]).toEqual([[], []]);
    expect((await get("/nobody")).status).toBe(404);
    expect((await get("", { authorization: "none" })).status).toBe(401);
    expect((await get("")).headers.get("content-type")).toBe("application/jwk-set+json");
  });

  it("answers every one of hundreds of questions over kept connections", async () => {
    const base = new URL(await start());
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const body = JSON.stringify({ username: "dev1", action: "publish", topic: "devices/dev1/up/t", qos: 1 });
    let allowed = 0;
    const ask = (): Promise<void> =>
      new Promise((resolve, reject) => {
        const asked = request(
          {
            host: base.hostname,
            port: base.port,
            path: "/emqx/authz",
            method: "POST",
            agent,
            headers: { "content-type": "application/json", "content-length": body.length },
          },
          (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
            response.once("end", () => {
              if (text.includes('"allow"')) allowed += 1;
              resolve();
            });
          },
        );
        asked.once("error", reject).end(body);
      });
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let count = 0; count < 50; count += 1) await ask();
      }),
    );
    agent.destroy();
    expect(allowed).toBe(400);
  });
});
