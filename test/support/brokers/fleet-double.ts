/**
 * For tests: AWS IoT Fleet Provisioning as a client of a real broker. It issues by OpenSSL, and refuses what AWS documents that it refuses:
 * a request that is none, a token that it did not give, that was used, or that is older than an hour, a template or a parameter that there
 * is not. Its answers go to whoever hears the topic, so one device at a time.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import type { LeafOptions, OpensslCa } from "../node/est-server.js";

const CREATE = "$aws/certificates/create-from-csr/json";
const REGISTER = /^\$aws\/provisioning-templates\/([\w-]{1,36})\/provision\/json$/;
const TOKEN_MS = 3_600_000;
const LARGEST_BYTES = 131_072;

export interface FleetRequest {
  step: "create" | "register";
  csr?: Buffer;
  content: Readonly<Record<string, unknown>>;
}

export class FleetDouble {
  readonly requests: FleetRequest[] = [];
  /** What the next certificates are like. */
  leaf: LeafOptions = {};
  /** By template, the parameters that it wants. */
  readonly templates = new Map<string, readonly string[]>([["meters", ["SerialNumber"]]]);
  /** Names of certificates that a template has made active. */
  readonly active: string[] = [];
  /** Answers a step so instead. `silence`: it does what is asked, and the answer is lost. */
  instead: { create?: string | "silence"; register?: string | "silence" } = {};
  /** Called where an answer is lost. */
  onSilence: () => void = () => undefined;
  nowMs = Date.now;
  readonly #tokens = new Map<string, { name: string; atMs: number }>();
  #client: MqttClient | undefined;

  constructor(
    private readonly ca: OpensslCa,
    private readonly issuer: string,
  ) {}

  async start(url: string, tls: { ca: string; cert: string; key: string }): Promise<void> {
    const client = await mqtt.connectAsync(url, { ...tls, clientId: "aws" });
    this.#client = client;
    client.on("message", (topic, payload, { qos }) => void this.#take(topic, payload, qos));
    await client.subscribeAsync([CREATE, "$aws/provisioning-templates/+/provision/json"], { qos: 1 });
  }

  async stop(): Promise<void> {
    await this.#client?.endAsync();
  }

  get steps(): string[] {
    return this.requests.map(({ step }) => step);
  }

  async #take(topic: string, payload: Buffer, qos: number): Promise<void> {
    const step = topic === CREATE ? "create" : "register";
    let answer: object;
    try {
      if (payload.length > LARGEST_BYTES || qos > 1) throw new Error("InvalidRequest");
      const content = JSON.parse(payload.toString()) as Record<string, unknown>;
      answer = step === "create" ? await this.#create(content) : this.#register(topic, content);
    } catch (error) {
      const [errorCode = "InternalError", errorMessage = ""] = (error instanceof Error ? error.message : "").split(": ");
      return this.#say(`${topic}/rejected`, JSON.stringify({ statusCode: 400, errorCode, errorMessage }));
    }
    const instead = this.instead[step];
    if (instead === "silence") this.onSilence();
    else this.#say(`${topic}/accepted`, instead ?? JSON.stringify(answer));
  }

  async #create(content: Record<string, unknown>): Promise<object> {
    const { certificateSigningRequest: pem } = content;
    if (typeof pem !== "string") throw new Error("InvalidCertificateSigningRequest: it is missing");
    const csr = execFileSync("openssl", ["req", "-outform", "DER"], { input: pem, stdio: ["pipe", "pipe", "ignore"] });
    this.requests.push({ step: "create", csr, content });
    const name = await this.ca.issue(csr, { issuer: this.issuer, ...this.leaf });
    const token = `token-of-${name}`;
    this.#tokens.set(token, { name, atMs: this.nowMs() });
    return {
      certificateId: name,
      certificatePem: readFileSync(join(this.ca.directory, `${name}.crt`), "utf8"),
      certificateOwnershipToken: token,
    };
  }

  #register(topic: string, content: Record<string, unknown>): object {
    this.requests.push({ step: "register", content });
    const wanted = this.templates.get(REGISTER.exec(topic)?.[1] ?? "");
    if (wanted === undefined) throw new Error("ResourceNotFoundException: no such template");
    const parameters = (content["parameters"] ?? {}) as Record<string, unknown>;
    const missing = wanted.find((name) => typeof parameters[name] !== "string");
    if (missing !== undefined) throw new Error(`InvalidParameters: ${missing} is missing`);
    const token = String(content["certificateOwnershipToken"]);
    const issued = this.#tokens.get(token);
    if (issued === undefined || this.nowMs() - issued.atMs > TOKEN_MS)
      throw new Error("InvalidCertificateOwnershipToken: unknown, used or expired");
    // A lost answer is asked for again: RegisterThing takes a token a second time for the same thing only while its answer is out.
    if (this.instead.register !== "silence") this.#tokens.delete(token);
    this.active.push(issued.name);
    return { deviceConfiguration: {}, thingName: parameters["SerialNumber"] };
  }

  #say(topic: string, text: string): void {
    this.#client?.publish(topic, text, { qos: 1 });
  }
}
