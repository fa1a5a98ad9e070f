/**
 * A real RabbitMQ with its MQTT plugin, on loopback, with a data directory, a node and a port mapper of its own. For tests; not part of the
 * product.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { freePorts } from "../../../sim/brokers/free-port.js";
import { watchOver } from "../../../sim/brokers/orphan-guard.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

/** Debian's script itself: the one on PATH would change to the user rabbitmq, who may not read the test's files. */
const PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PLUGINS = "[rabbitmq_mqtt,rabbitmq_auth_mechanism_ssl].";
/** The first start of a node takes 6 to 9 s: the MQTT plugin waits 3 to 6 s for other nodes that might want to elect a leader with it. */
const START_TIMEOUT_MS = 90_000;
const KEPT_LINES = 40;

export interface RabbitmqUser {
  /** Also the certificate's common name. */
  name: string;
  /** Absent: signs in by certificate only. */
  password?: string;
  /** What it may publish to and receive from: regular expressions over topics with `.` for `/`. */
  mayWrite: string;
  mayRead: string;
}

export interface RabbitmqMaterial {
  users: readonly RabbitmqUser[];
  caPem: string;
  chainPem: string;
  keyPem: string;
}

/** A node and its port mapper (epmd), which outlives the node's restarts. */
export class TestRabbitmq {
  mqttPort = 0;
  mtlsPort = 0;
  readonly #directory: string;
  #environment: NodeJS.ProcessEnv = {};
  #portMapper: Child | undefined;
  #node: Child | undefined;

  private constructor(room: string) {
    this.#directory = join(room, "rabbitmq");
  }

  /** Starts it with a configuration somebody else wrote: files by name, among them `rabbitmq.conf` and `enabled_plugins`. */
  static async startWith(
    room: string,
    filesIn: (directory: string, mtlsPort: number) => ReadonlyMap<string, string>,
  ): Promise<TestRabbitmq> {
    const broker = new TestRabbitmq(room);
    try {
      const [portMapper = 0, distribution = 0, mtlsPort = 0] = await freePorts(3);
      broker.mtlsPort = mtlsPort;
      mkdirSync(broker.#directory, { recursive: true });
      for (const [name, content] of filesIn(broker.#directory, mtlsPort)) {
        mkdirSync(dirname(join(broker.#directory, name)), { recursive: true });
        writeFileSync(join(broker.#directory, name), content, { mode: 0o600 });
      }
      broker.#environment = {
        ...environment(broker.#directory, portMapper, distribution),
        RABBITMQ_CONFIG_FILE: join(broker.#directory, "rabbitmq.conf"),
        RABBITMQ_ADVANCED_CONFIG_FILE: join(broker.#directory, "advanced.config"),
      };
      broker.#portMapper = new Child(spawn("epmd", [], { env: broker.#environment, stdio: ["ignore", "ignore", "ignore"] }));
      await broker.restart();
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  /** What an Erlang expression gives inside the running node. */
  async evaluate(expression: string): Promise<string> {
    const { stdout } = await promisify(execFile)("/usr/lib/rabbitmq/bin/rabbitmqctl", ["-q", "eval", expression], {
      env: this.#environment,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }

  /** Starts it in a new directory below `room`; ready when this resolves. */
  static async start(room: string, material: RabbitmqMaterial): Promise<TestRabbitmq> {
    const broker = new TestRabbitmq(room);
    try {
      await broker.#prepare(material);
      await broker.restart();
    } catch (error) {
      await broker.stop();
      throw error;
    }
    return broker;
  }

  async #prepare(material: RabbitmqMaterial): Promise<void> {
    const [portMapper = 0, distribution = 0, mqttPort = 0, mtlsPort = 0] = await freePorts(4);
    Object.assign(this, { mqttPort, mtlsPort });
    mkdirSync(this.#directory, { recursive: true });
    const files = {
      "ca.pem": material.caPem,
      "server.pem": material.chainPem,
      "server.key": material.keyPem,
      "definitions.json": definitions(material.users),
      "rabbitmq.config": configuration(this.#directory, mqttPort, mtlsPort),
      enabled_plugins: PLUGINS,
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(this.#directory, name), content, { mode: 0o600 });
    this.#environment = environment(this.#directory, portMapper, distribution);
    this.#portMapper = new Child(spawn("epmd", [], { env: this.#environment, stdio: ["ignore", "ignore", "ignore"] }));
  }

  /** Starts the node again, after {@link kill}, with all that it has on disk. */
  async restart(): Promise<void> {
    const child = spawn(PROGRAM, [], { cwd: this.#directory, env: this.#environment, stdio: ["ignore", "pipe", "pipe"] });
    this.#node = new Child(child);
    await startupComplete(child);
  }

  /** SIGKILL to the node: it says nothing to anybody, and keeps what is on disk. */
  async kill(): Promise<void> {
    await this.#node?.kill();
    this.#node = undefined;
  }

  /** Ends the node and its port mapper, and removes its directory. */
  async stop(): Promise<void> {
    await this.kill();
    await this.#portMapper?.kill();
    // The node's helpers notice its end a moment later, and may still write.
    removeDirectory(this.#directory);
  }
}

/** A child process that does not outlive this one. */
class Child {
  readonly #ended: Promise<unknown>;

  constructor(private readonly child: ChildProcess) {
    this.#ended = once(child, "close").catch(() => undefined);
    // Not to be signalled once its process id may belong to another.
    void this.#ended.then(watchOver(child));
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#ended;
  }
}

/** Resolves when the node says so; rejects with its last words when it ends before, or takes too long. */
function startupComplete(child: ChildProcess): Promise<void> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (how: string): void => reject(new Error(`RabbitMQ ${how} and said:\n${lines.join("\n")}`));
    const late = setTimeout(() => fail(`was not ready within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(late);
      fail(`ended with ${code}`);
    });
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on("line", (line) => {
        lines.push(line);
        if (lines.length > KEPT_LINES) lines.shift();
        if (!line.includes("Server startup complete")) return;
        clearTimeout(late);
        resolve();
      });
    }
  });
}

/** Nothing of the machine's own RabbitMQ: its environment file, its directories, its ports. */
function environment(directory: string, portMapper: number, distribution: number): NodeJS.ProcessEnv {
  const inDirectory = (name: string): string => join(directory, name);
  return {
    PATH: process.env["PATH"],
    LANG: "C.UTF-8",
    // Where the node puts the cookie by which others may control it.
    HOME: directory,
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(portMapper),
    // Has the script become the node instead of minding it: a signal to the child is one to the node.
    RUNNING_UNDER_SYSTEMD: "true",
    RABBITMQ_CONF_ENV_FILE: inDirectory("none"),
    RABBITMQ_CONFIG_FILE: inDirectory("rabbitmq.config"),
    RABBITMQ_ENABLED_PLUGINS_FILE: inDirectory("enabled_plugins"),
    RABBITMQ_NODENAME: "hawser@localhost",
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
    RABBITMQ_MNESIA_BASE: inDirectory("data"),
    RABBITMQ_LOG_BASE: inDirectory("log"),
    RABBITMQ_LOGS: "-",
    RABBITMQ_GENERATED_CONFIG_DIR: inDirectory("generated"),
    RABBITMQ_SCHEMA_DIR: inDirectory("schema"),
    RABBITMQ_PID_FILE: inDirectory("pid"),
  };
}

/** In Erlang's terms, which the node reads without a schema. The user is the certificate's common name; no listener but MQTT's. */
function configuration(directory: string, mqttPort: number, mtlsPort: number): string {
  const file = (name: string): string => JSON.stringify(join(directory, name));
  const tls = `[{cacertfile,${file("ca.pem")}},{certfile,${file("server.pem")}},{keyfile,${file("server.key")}},{verify,verify_peer},{fail_if_no_peer_cert,true}]`;
  return `[
    {rabbit,[{tcp_listeners,[]},{ssl_options,${tls}},{ssl_cert_login_from,common_name},{load_definitions,${file("definitions.json")}}]},
    {rabbitmq_mqtt,[{tcp_listeners,[{"127.0.0.1",${mqttPort}}]},{ssl_listeners,[{"127.0.0.1",${mtlsPort}}]},{ssl_cert_login,true},{allow_anonymous,false}]}
  ].`;
}

/** RabbitMQ's export of users and rights, which it imports at its start. */
function definitions(users: readonly RabbitmqUser[]): string {
  const queues = "mqtt-subscription-.*";
  return JSON.stringify({
    vhosts: [{ name: "/" }],
    users: users.map(({ name, password }) => ({
      name,
      password_hash: password === undefined ? "" : passwordHash(password),
      hashing_algorithm: "rabbit_password_hashing_sha256",
      tags: "",
    })),
    permissions: users.map(({ name }) => ({
      user: name,
      vhost: "/",
      configure: `^${queues}$`,
      write: `^(${queues}|amq\\.topic)$`,
      read: `^(${queues}|amq\\.topic)$`,
    })),
    topic_permissions: users.map(({ name, mayWrite, mayRead }) => ({
      user: name,
      vhost: "/",
      exchange: "amq.topic",
      write: mayWrite,
      read: mayRead,
    })),
  });
}

/** base64(salt, SHA-256(salt, password)): rabbitmq.com/docs/passwords. */
function passwordHash(password: string): string {
  const salt = randomBytes(4);
  return Buffer.concat([salt, createHash("sha256").update(salt).update(password).digest()]).toString("base64");
}
