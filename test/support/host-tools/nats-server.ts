/** A real nats-server (Debian's) with TLS and a token, for tests of fleets on many machines. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../../../sim/brokers/free-port.js";

export class NatsServer {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    /** PEM of its own certificate, which signs itself. */
    readonly caFile: string,
    readonly tokenFile: string,
    readonly token: string,
  ) {}

  /** @param address where it listens and what its certificate is for */
  static async start(folder: string, address: string): Promise<NatsServer> {
    const [caFile, keyFile, tokenFile, configFile] = ["nats.crt", "nats.key", "nats.token", "nats.conf"].map((name) => join(folder, name));
    if (!caFile || !keyFile || !tokenFile || !configFile) throw new Error("no files");
    const subject = ["-subj", "/CN=nats", "-addext", `subjectAltName=IP:${address}`, "-days", "2"];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", keyFile];
    execFileSync("openssl", ["req", "-x509", ...key, "-out", caFile, ...subject], { stdio: "ignore" });
    const token = randomBytes(16).toString("hex");
    writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
    const [port = 0] = await freePorts(1);
    const config = `listen: "${address}:${port}"\nauthorization { token: "${token}" }\ntls { cert_file: "${caFile}", key_file: "${keyFile}" }\n`;
    writeFileSync(configFile, config, { mode: 0o600 });
    const child = spawn("nats-server", ["-c", configFile], { stdio: ["ignore", "ignore", "pipe"] });
    await new Promise<void>((resolve, reject) => {
      let log = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("Server is ready")) resolve();
      });
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`nats-server ended with ${code}: ${log}`)));
    });
    return new NatsServer(child, port, caFile, tokenFile, token);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
    this.child.kill("SIGKILL");
    await ended;
  }
}
