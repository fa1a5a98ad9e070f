/**
 * For tests: an EST server (RFC 7030) on loopback, over node:https, whose CA is the openssl binary: neither Hawser nor the library that its
 * own CA is made with judges what Hawser sends and takes.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { fromPem } from "../../../host-tools/pki/pem.js";
import { OpensslParent } from "../host-tools/openssl-parent.js";

const run = promisify(execFile);
const P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

export interface LeafOptions {
  /** `/CN=...` instead of the request's. */
  subject?: string;
  issuer?: string;
  /** Lines of an extension file. */
  extensions?: readonly string[];
  /** Valid from now for so long, seconds; may be in the past. */
  lifetimeSeconds?: number;
}

/** A root and an issuing CA, and what else a test wants below them. */
export class OpensslCa {
  readonly #parent: OpensslParent;
  #made = 0;

  constructor(readonly directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#parent = new OpensslParent(directory, P256);
    this.#parent.below("root", "issuing");
  }

  /** A root that is nobody's, and a CA below it. */
  another(root: string, issuing: string): void {
    this.#parent.root(root);
    this.#parent.below(root, issuing);
  }

  pem(name: string): string {
    return this.#parent.certificate(name);
  }

  der(name: string): Uint8Array {
    return new Uint8Array(fromPem("CERTIFICATE", this.pem(name))[0] ?? []);
  }

  get crlPem(): string {
    return this.#parent.list("issuing") + this.#parent.list("root");
  }

  /** Issues for a PKCS#10 request (DER) whose signature OpenSSL has checked. @returns the name of its files here */
  async issue(csr: Uint8Array, options: LeafOptions = {}): Promise<string> {
    const { issuer = "issuing", subject, extensions = ["extendedKeyUsage=clientAuth"], lifetimeSeconds = 86_400 } = options;
    const name = `leaf-${++this.#made}`;
    writeFileSync(join(this.directory, `${name}.der`), csr);
    writeFileSync(join(this.directory, `${name}.ext`), ["basicConstraints=critical,CA:FALSE", ...extensions].join("\n"));
    await this.openssl("req", "-inform", "DER", "-in", `${name}.der`, "-verify", "-noout");
    await this.openssl("req", "-inform", "DER", "-in", `${name}.der`, "-out", `${name}.csr`);
    writeFileSync(join(this.directory, `${name}.index`), "");
    const sections = [
      "[ca]",
      "default_ca=c",
      "[c]",
      `new_certs_dir=${this.directory}`,
      `database=${join(this.directory, `${name}.index`)}`,
      "rand_serial=yes",
      "default_md=sha256",
      "policy=p",
      "unique_subject=no",
      "[p]",
      "commonName=supplied",
    ];
    writeFileSync(join(this.directory, `${name}.cnf`), sections.join("\n"));
    const date = (ms: number): string => `${new Date(ms).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
    const nowMs = Date.now();
    await this.openssl(
      ...["ca", "-batch", "-notext", "-config", `${name}.cnf`, "-cert", `${issuer}.crt`, "-keyfile", `${issuer}.key`],
      ...["-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", `${name}.ext`],
      ...["-startdate", date(nowMs - 3_600_000), "-enddate", date(nowMs + lifetimeSeconds * 1_000)],
      ...(subject === undefined ? [] : ["-subj", subject]),
    );
    return name;
  }

  /** A server's key and chain, for localhost. */
  async server(name = "localhost", issuer = "issuing"): Promise<{ key: string; cert: string }> {
    await this.openssl("genpkey", ...P256, "-out", `${name}.key`);
    await this.openssl("req", "-new", "-key", `${name}.key`, "-subj", `/CN=${name}`, "-outform", "DER", "-out", `${name}.req`);
    const leaf = await this.issue(readFileSync(join(this.directory, `${name}.req`)), {
      issuer,
      extensions: ["extendedKeyUsage=serverAuth", `subjectAltName=DNS:${name},IP:127.0.0.1`],
    });
    return { key: readFileSync(join(this.directory, `${name}.key`), "utf8"), cert: this.pem(leaf) + this.pem(issuer) };
  }

  /** A certs-only message, DER, of these certificates. */
  async certsOnly(...names: readonly string[]): Promise<Buffer> {
    const files = names.flatMap((name) => ["-certfile", `${name}.crt`]);
    return (await this.openssl("crl2pkcs7", "-nocrl", ...files, "-outform", "DER")).stdout;
  }

  openssl(...parameters: string[]): Promise<{ stdout: Buffer }> {
    return run("openssl", parameters, { cwd: this.directory, encoding: "buffer" });
  }
}

export type EstOperation = "cacerts" | "simpleenroll" | "simplereenroll";

/** One request, as the server has taken it. */
export interface EstRequest {
  path: string;
  operation: EstOperation;
  authorization: string | undefined;
  /** Common name of the client certificate that TLS has proved. */
  client: string | undefined;
  csr: Buffer;
}

export type EstAnswer = (response: ServerResponse, request: EstRequest) => void | Promise<void>;

export class TestEstServer {
  readonly requests: EstRequest[] = [];
  /** One-time passwords, by user name. */
  readonly passwords = new Map<string, string>();
  /** What is done instead of the honest thing. */
  readonly instead: Partial<Record<EstOperation, EstAnswer>> = {};
  /** How the honest thing issues. */
  leaf: LeafOptions = {};
  /** What `cacerts` hands out. */
  caCertificates: readonly string[] = ["issuing", "root"];
  /** Told of each certificate before it is sent. */
  onIssued: () => void | Promise<void> = () => undefined;

  private constructor(
    readonly ca: OpensslCa,
    private readonly server: Server,
  ) {}

  static async start(ca: OpensslCa, identity?: { key: string; cert: string }): Promise<TestEstServer> {
    const own = identity ?? (await ca.server());
    const server = createServer({ ...own, ca: ca.pem("root") + ca.pem("issuing"), requestCert: true, rejectUnauthorized: false });
    const started = new TestEstServer(ca, server);
    server.on("request", (request, response) => void started.#serve(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return started;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://localhost:${this.port}`;
  }

  get operations(): EstOperation[] {
    return this.requests.map(({ operation }) => operation);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const socket = incoming.socket as TLSSocket;
    const path = incoming.url ?? "";
    const request: EstRequest = {
      path,
      operation: path.split("/").at(-1) as EstOperation,
      authorization: incoming.headers.authorization,
      client: socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined,
      csr: Buffer.from(Buffer.concat(chunks).toString(), "base64"),
    };
    this.requests.push(request);
    response.on("error", () => undefined);
    await (this.instead[request.operation] ?? this.honest)(response, request);
  }

  readonly honest: EstAnswer = async (response, request) => {
    if (request.operation === "cacerts") return send(response, await this.ca.certsOnly(...this.caCertificates));
    if (request.operation === "simpleenroll" && !this.#hasPassword(request)) return void response.writeHead(401, CHALLENGE).end();
    if (request.operation === "simplereenroll" && !(await this.#isHolder(request))) return void response.writeHead(403).end();
    await this.issue(response, request.csr, this.leaf);
  };

  async issue(response: ServerResponse, csr: Buffer, options: LeafOptions): Promise<void> {
    const leaf = await this.ca.issue(csr, options);
    await this.onIssued();
    send(response, await this.ca.certsOnly(leaf));
  }

  #hasPassword({ authorization = "" }: EstRequest): boolean {
    const [username = "", password] = Buffer.from(authorization.replace(/^Basic /, ""), "base64")
      .toString()
      .split(":");
    const isRight = password !== undefined && this.passwords.get(username) === password;
    if (isRight) this.passwords.delete(username);
    return isRight;
  }

  /** Section 3.3.2: who renews shows the certificate that is to be renewed, and asks for the same name. */
  async #isHolder({ client, csr }: EstRequest): Promise<boolean> {
    if (client === undefined) return false;
    writeFileSync(join(this.ca.directory, "asked.der"), csr);
    const { stdout } = await this.ca.openssl("req", "-inform", "DER", "-in", "asked.der", "-noout", "-subject", "-nameopt", "RFC2253");
    return stdout.toString().trim() === `subject=CN=${client}`;
  }
}

const CHALLENGE = { "www-authenticate": 'Basic realm="est"' };
export const CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only";

export function send(response: ServerResponse, message: Uint8Array, type = CERTS_ONLY): void {
  const body = Buffer.from(message).toString("base64").replace(/.{64}/g, "$&\n");
  response.writeHead(200, { "content-type": type, "content-transfer-encoding": "base64" }).end(body);
}
