/**
 * The questions that brokers ask over HTTP, each make in its own words, and the answers in the form it expects. Anything that is not
 * understood is denied.
 */
import type { AccessQuestion, PolicyEngine } from "../policy/policy-engine.js";
import type { Qos } from "../policy/policy-model.js";

export interface Request {
  /** Path without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string;
  readonly body: string;
  /** Header of VerneMQ that says which question it is. */
  readonly hook?: string;
}

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** For counters and logs. */
  readonly allowed: boolean;
}

interface Asking {
  readonly engine: PolicyEngine;
  /** The policy's listener that the broker asks for. */
  readonly listener: string;
  readonly atMs: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** Undefined for a path that no dialect has. */
export function answer(engine: PolicyEngine, request: Request, atMs: number): Answer | undefined {
  const listener = request.query.get("listener") ?? firstListener(engine);
  const asking = { engine, listener, atMs };
  const [, dialect = "", question = ""] = request.path.split("/");
  const fields = fieldsOf(request);
  switch (dialect) {
    case "emqx":
      return question === "authn" || question === "authz" ? emqx(asking, question, fields) : undefined;
    case "nanomq":
      return nanomq(asking, question, fields);
    case "rabbitmq":
      return rabbitmq(asking, question, fields);
    case "vernemq":
      return vernemq(asking, request.hook ?? "", fields);
    default:
      return undefined;
  }
}

function firstListener({ policy }: PolicyEngine): string {
  for (const { name, scope } of policy.listeners.values()) if (scope === "full") return name;
  return "";
}

function fieldsOf({ contentType, body, query }: Request): Fields {
  if (contentType.startsWith("application/json")) {
    try {
      const value: unknown = JSON.parse(body);
      return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
    } catch {
      return {};
    }
  }
  const form = body === "" ? query : new URLSearchParams(body);
  return Object.fromEntries([...form].filter(([name]) => name !== "listener"));
}

function text(fields: Fields, name: string): string | undefined {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
  return typeof value === "string" && value !== "" && value !== "undefined" ? value : undefined;
}

/** Sends the credential that the broker proved (`commonName`), the password, or both. */
function maySignIn(
  { engine, listener, atMs }: Asking,
  shown: {
    name: string | undefined;
    commonName: string | undefined;
    password: string | undefined;
    clientId: string | undefined;
    address: string | undefined;
  },
): boolean {
  const { name, commonName, password, clientId, address } = shown;
  if (name === undefined || (commonName !== undefined && commonName !== name)) return false;
  const verdict = engine.authenticate({
    name,
    listener,
    atMs,
    ...(commonName === undefined ? {} : { proved: "certificate" as const }),
    ...(password === undefined ? {} : { password }),
    ...(address === undefined ? {} : { address }),
  });
  return verdict.allowed && (clientId === undefined || mayUseClientId(engine, name, clientId));
}

/** A device's sessions are its own: `NAME` or `NAME~...`. Another client chooses its ids, but takes nobody's name. */
function mayUseClientId({ directory }: PolicyEngine, name: string, clientId: string): boolean {
  const [owner = ""] = clientId.split("~", 1);
  return owner === name || (directory.get(name)?.kind === "client" && directory.get(owner) === undefined);
}

type Ask = Pick<AccessQuestion, "action" | "topic" | "qos" | "retain" | "address">;

function may({ engine, listener, atMs }: Asking, name: string | undefined, ask: Ask): boolean {
  return name !== undefined && engine.authorize({ ...ask, name, listener, atMs }).allowed;
}

function json(allowed: boolean, value: unknown): Answer {
  return { status: 200, contentType: "application/json", body: JSON.stringify(value), allowed };
}

/** docs.emqx.com, "Use HTTP Service" for authentication and for authorization. */
function emqx(asking: Asking, question: string, fields: Fields): Answer {
  const name = text(fields, "username");
  const address = text(fields, "peerhost");
  if (question === "authn") {
    const allowed = maySignIn(asking, {
      name,
      commonName: text(fields, "cert_common_name"),
      password: text(fields, "password"),
      clientId: text(fields, "clientid"),
      address,
    });
    return json(allowed, allowed ? { result: "allow", is_superuser: false } : { result: "deny" });
  }
  const action = text(fields, "action");
  const topic = text(fields, "topic") ?? "";
  const isKnown = action === "publish" || action === "subscribe";
  const details = { ...qosOf(fields["qos"]), ...retainOf(fields["retain"]), ...(address === undefined ? {} : { address }) };
  const allowed = isKnown && may(asking, name, { action, topic, ...details });
  return json(allowed, { result: allowed ? "allow" : "deny" });
}

function qosOf(value: unknown): { qos: Qos } | Record<string, never> {
  const qos = typeof value === "string" ? Number(value) : value;
  return qos === 0 || qos === 1 || qos === 2 ? { qos } : {};
}

function retainOf(value: unknown): { retain: boolean } | Record<string, never> {
  if (typeof value === "boolean") return { retain: value };
  return value === "true" || value === "1" ? { retain: true } : value === "false" || value === "0" ? { retain: false } : {};
}

/** nanomq.io/docs, "HTTP authentication": the status alone counts. Nobody is a superuser. `access` is 1 to subscribe, 2 to publish. */
function nanomq(asking: Asking, question: string, fields: Fields): Answer | undefined {
  const name = text(fields, "username");
  const commonName = text(fields, "cn");
  const address = text(fields, "ipaddr");
  // NanoMQ lets the client choose its user name: without the certificate's name nothing is proved.
  const isProved = commonName !== undefined && commonName === name;
  if (question === "auth")
    return status(
      isProved && maySignIn(asking, { name, commonName, password: text(fields, "password"), clientId: text(fields, "clientid"), address }),
    );
  if (question === "super") return status(false);
  if (question !== "acl") return undefined;
  const access = text(fields, "access");
  const action = access === "1" ? "subscribe" : access === "2" ? "publish" : undefined;
  return status(
    isProved &&
      action !== undefined &&
      may(asking, name, { action, topic: text(fields, "topic") ?? "", ...(address === undefined ? {} : { address }) }),
  );
}

function status(allowed: boolean): Answer {
  return { status: allowed ? 200 : 401, contentType: "text/plain", body: allowed ? "allow" : "deny", allowed };
}

/**
 * github.com/rabbitmq/rabbitmq-server, rabbitmq_auth_backend_http. Without a password the broker has proved the name by a certificate: its
 * MQTT plugin takes the user name of a client that sends one only together with a password.
 */
function rabbitmq(asking: Asking, question: string, fields: Fields): Answer | undefined {
  const name = text(fields, "username");
  const isLegal = text(fields, "vhost") === "/";
  switch (question) {
    case "user": {
      const password = text(fields, "password");
      return word(
        maySignIn(asking, {
          name,
          commonName: password === undefined ? name : undefined,
          password,
          clientId: text(fields, "client_id"),
          address: undefined,
        }),
      );
    }
    case "vhost":
      return word(isLegal && name !== undefined && asking.engine.directory.get(name) !== undefined);
    case "resource":
      return word(isLegal && name !== undefined && mayUseResource(asking.engine, name, fields));
    case "topic":
      return word(isLegal && text(fields, "name") === "amq.topic" && mayUseRoutingKey(asking, name, fields));
    default:
      return undefined;
  }
}

function word(allowed: boolean): Answer {
  return { status: 200, contentType: "text/plain", body: allowed ? "allow" : "deny", allowed };
}

/** The exchange of MQTT, and the queues of one's own sessions. */
function mayUseResource(engine: PolicyEngine, name: string, fields: Fields): boolean {
  const resource = text(fields, "name") ?? "";
  if (text(fields, "resource") === "exchange") return resource === "amq.topic" && text(fields, "permission") !== "configure";
  const clientId = /^mqtt-subscription-(.*)qos[01]$/s.exec(resource)?.[1];
  return (
    text(fields, "resource") === "queue" &&
    clientId !== undefined &&
    engine.directory.get(name) !== undefined &&
    mayUseClientId(engine, name, clientId)
  );
}

/** Routing keys have `.` for `/`, and `*` for `+` in a subscription; RabbitMQ takes a shared subscription for one to that very topic. */
function mayUseRoutingKey(asking: Asking, name: string | undefined, fields: Fields): boolean {
  const key = (text(fields, "routing_key") ?? "").replace(/\./g, "/");
  const permission = text(fields, "permission");
  if (permission === "write") return may(asking, name, { action: "publish", topic: key });
  return permission === "read" && !key.startsWith("$share/") && may(asking, name, { action: "subscribe", topic: key.replace(/\*/g, "+") });
}

/**
 * docs.vernemq.com, "Webhooks". VerneMQ's listener puts the certificate's common name in the user name's place, and then sends no password.
 */
function vernemq(asking: Asking, hook: string, fields: Fields): Answer | undefined {
  const name = text(fields, "username");
  const address = text(fields, "peer_addr");
  const details = { ...qosOf(fields["qos"]), ...retainOf(fields["retain"]), ...(address === undefined ? {} : { address }) };
  switch (hook.replace(/_m5$/, "")) {
    case "auth_on_register": {
      const password = text(fields, "password");
      return ok(
        maySignIn(asking, {
          name,
          commonName: password === undefined ? name : undefined,
          password,
          clientId: text(fields, "client_id"),
          address,
        }),
      );
    }
    case "auth_on_publish":
      return ok(may(asking, name, { action: "publish", topic: text(fields, "topic") ?? "", ...details }));
    case "auth_on_subscribe":
      return subscriptions(asking, name, fields["topics"]);
    default:
      return undefined;
  }
}

function ok(allowed: boolean): Answer {
  return json(allowed, { result: allowed ? "ok" : { error: "not_allowed" } });
}

/** Each filter by itself: a denied one is answered with QoS 128, which refuses it and grants the others. */
function subscriptions(asking: Asking, name: string | undefined, topics: unknown): Answer {
  const wanted = Array.isArray(topics)
    ? topics.map((item: unknown) => (typeof item === "object" && item !== null ? (item as Fields) : {}))
    : [];
  const granted = wanted.map((item) => {
    const topic = text(item, "topic") ?? "";
    return { topic, qos: may(asking, name, { action: "subscribe", topic }) ? (qosOf(item["qos"]).qos ?? 0) : 128 };
  });
  const allowed = granted.length > 0 && granted.some(({ qos }) => qos !== 128);
  return allowed ? json(true, { result: "ok", topics: granted }) : ok(false);
}
