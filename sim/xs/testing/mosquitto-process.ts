/** A real mosquitto on a free port of loopback. Test material. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = "/usr/sbin/mosquitto";

export class MosquittoProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), "hawser-mosquitto-"));
  #child: ChildProcess | undefined;

  private constructor(readonly port: number) {}

  /** Plaintext and anonymous. */
  static async plain(): Promise<MosquittoProcess> {
    const broker = new MosquittoProcess(await freePort());
    await broker.start("allow_anonymous true\n");
    return broker;
  }

  /** @param listenerSettings what follows the listener's line */
  static async with(listenerSettings: string): Promise<MosquittoProcess> {
    const broker = new MosquittoProcess(await freePort());
    await broker.start(listenerSettings);
    return broker;
  }

  private async start(settings: string): Promise<void> {
    const file = join(this.#folder, "mosquitto.conf");
    writeFileSync(file, `user root\nlistener ${this.port} 127.0.0.1\nset_tcp_nodelay true\n${settings}`);
    const child = spawn(PROGRAM, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("running")) resolve();
      });
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`mosquitto ended with ${code}: ${log}`)));
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
