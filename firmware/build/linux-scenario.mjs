/**
 * The connection scenario of `npm run firmware:lin`, against real mosquitto on loopback with mutual TLS: identity, time, telemetry, a command, a broker that
 * is killed, a broker that is not the right one. Each step is seen from outside: by the broker's other clients, or by the firmware's own log.
 */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findProgram, say } from "./moddable-sdk.mjs";
import { ScenarioPki } from "./scenario-pki.mjs";
import { freePort, Processes } from "./scenario-processes.mjs";

const ID = "sensor-1";

export class LinuxScenario {
  #folder;
  #pki;
  #port;
  #processes = new Processes();
  #sntp = createSocket("udp4");
  #broker;

  /** @param folder empty; everything is made in it */
  constructor(folder) {
    this.#folder = folder;
    for (const name of ["pki", "run"]) mkdirSync(join(folder, name));
    this.#pki = new ScenarioPki(join(folder, "pki"));
  }

  /** Starts broker and time server. @returns what the firmware is built with */
  async prepare() {
    this.#port = await freePort();
    await this.#startBroker("server");
    this.#sntp.on("message", (request, { port, address }) => this.#sntp.send(timeReply(request), port, address));
    this.#sntp.bind(0, "127.0.0.1");
    await once(this.#sntp, "listening");
    return { id: ID, broker: "127.0.0.1", serverName: "localhost", port: this.#port, sntp: `127.0.0.1:${this.#sntp.address().port}`, intervalSeconds: 1 };
  }

  /** @param host path of linux-host; @param library path of mc.so */
  async run(host, library) {
    await this.#provision(host, library);
    const sensor = this.#processes.start(host, [library], { cwd: join(this.#folder, "run") });
    const watcher = this.#client("mosquitto_sub", "-v", "-q", "1", "-t", `devices/${ID}/up/#`);
    await sensor.line(/the clock is set/);
    say("  the clock is set by SNTP");
    say(`  connected: ${(await sensor.line(/^info: connected/)).slice("info: connected details=".length)}`);
    await watcher.line(/up\/reading .*uptimeSeconds/);
    say("  a reading came to another client of the broker");
    await this.#client("mosquitto_pub", "-q", "1", "-t", `devices/${ID}/down/read`, "-m", "").line(/ended: 0/);
    await watcher.line(/up\/done .*"command":"read"/);
    say("  a command was taken and answered");
    await this.#killBroker(sensor);
    await this.#wrongBroker(sensor);
    const code = await sensor.kill("SIGTERM");
    if (code !== 0) throw new Error(`the firmware ended with ${code}\n${sensor.tail()}`);
    say(`  ${sensor.lines.find((line) => line.includes("native stack"))}`);
  }

  async end() {
    this.#sntp.close();
    await this.#processes.end();
  }

  /** First start: a key and a request; the factory's answer comes as files. */
  async #provision(host, library) {
    const run = join(this.#folder, "run");
    const startedAtMs = Date.now();
    const device = this.#processes.start(host, [library], { cwd: run });
    while (!existsSync(join(run, "request.der"))) {
      if (device.lines.some((line) => line.startsWith("(ended"))) throw new Error(`the firmware ended without asking for a certificate\n${device.tail()}`);
      await sleep(20);
    }
    copyFileSync(this.#pki.path("ca.der"), join(run, "ca.der"));
    this.#pki.sign(join(run, "request.der"), "DER", this.#pki.path("leaf.der"), "DER");
    copyFileSync(this.#pki.path("leaf.der"), join(run, "leaf.der"));
    await device.line(/^provisioned/);
    const builtAtMs = Number((await device.line(/^built /)).slice("built ".length));
    const isBuildTime = builtAtMs < startedAtMs && builtAtMs > startedAtMs - 86_400_000;
    if (!isBuildTime) throw new Error(`the build time is wrong: ${builtAtMs}, started at ${startedAtMs}`);
    await device.kill("SIGTERM");
    say("  key and request made on the device, identity installed; the build time is the build's");
  }

  async #killBroker(sensor) {
    const before = sensor.lines.length;
    await this.#broker.kill("SIGKILL");
    await sensor.line(/^info: disconnected/, before);
    await this.#startBroker("server");
    await sensor.line(/^info: connected/, before);
    const watcher = this.#client("mosquitto_sub", "-v", "-q", "1", "-t", `devices/${ID}/up/#`);
    await watcher.line(/up\/reading/);
    say("  the broker was killed and came back: connected again, readings flow");
  }

  /** Same name, same port, a certificate of another CA. */
  async #wrongBroker(sensor) {
    const before = sensor.lines.length;
    await this.#broker.kill("SIGKILL");
    await this.#startBroker("other-server");
    await sensor.line(/disconnected .*SERVER_CA_UNKNOWN/, before);
    say("  a broker with a certificate of another CA was refused");
    if (sensor.lines.slice(before).some((line) => /^info: connected/.test(line))) throw new Error(`connected to the wrong broker\n${sensor.tail()}`);
  }

  async #startBroker(certificate) {
    const configuration = join(this.#folder, "mosquitto.conf");
    const lines = [
      `listener ${this.#port} 127.0.0.1`,
      "user root",
      "persistence false",
      `cafile ${this.#pki.path("ca.crt")}`,
      `certfile ${this.#pki.path(`${certificate}.crt`)}`,
      `keyfile ${this.#pki.path(`${certificate}.key`)}`,
      "require_certificate true",
      "use_identity_as_username true",
      "allow_anonymous false",
      "set_tcp_nodelay true",
    ];
    writeFileSync(configuration, `${lines.join("\n")}\n`);
    this.#broker = this.#processes.start(findProgram("mosquitto"), ["-c", configuration]);
    await this.#broker.line(/mosquitto version .* running/);
  }

  #client(program, ...words) {
    const tls = ["--cafile", this.#pki.path("ca.crt"), "--cert", this.#pki.path("watcher.crt"), "--key", this.#pki.path("watcher.key")];
    return this.#processes.start(program, ["-h", "localhost", "-p", String(this.#port), ...tls, ...words]);
  }
}

/** An SNTP reply with this machine's time (RFC 5905 section 7.3). */
function timeReply(request) {
  const ntpMs = Date.now() + 2_208_988_800_000;
  const reply = Buffer.alloc(48);
  reply[0] = 0x24;
  reply[1] = 2;
  request.copy(reply, 24, 40, 48);
  for (const offset of [32, 40]) {
    reply.writeUInt32BE(Math.floor(ntpMs / 1_000) % 2 ** 32, offset);
    reply.writeUInt32BE(Math.floor(((ntpMs % 1_000) / 1_000) * 2 ** 32), offset + 4);
  }
  return reply;
}
