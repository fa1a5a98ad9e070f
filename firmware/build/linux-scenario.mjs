/**
 * The connection scenario of `npm run firmware:lin`, against real mosquitto on loopback: identity, time, telemetry and a command over
 * mutual TLS, a broker that is killed, a renewed certificate, recovery by pre-shared key, a broker that is not
 * the right one. Each step is seen from outside: by the broker's other clients, or by the firmware's own log.
 */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findProgram } from "./moddable-sdk.mjs";
import { ScenarioAuthority } from "./scenario-authority.mjs";
import { ScenarioPki } from "./scenario-pki.mjs";
import { freePort, Processes } from "./scenario-processes.mjs";
import { say } from "./script.mjs";

const ID = "sensor-1";
const PSK = randomBytes(32);

export class LinuxScenario {
  #folder;
  #pki;
  #port;
  #recoveryPort;
  #authority;
  #processes = new Processes();
  #sntp = createSocket("udp4");
  #broker;

  /** @param folder empty; everything is made in it */
  constructor(folder) {
    this.#folder = folder;
    for (const name of ["pki", "run"]) mkdirSync(join(folder, name));
    this.#pki = new ScenarioPki(join(folder, "pki"));
    this.#authority = new ScenarioAuthority(this.#pki, (program, ...words) => this.#client(program, "authority", ...words));
  }

  /** Starts broker and time server. @returns what the firmware is built with */
  async prepare() {
    this.#port = await freePort();
    this.#recoveryPort = await freePort();
    writeFileSync(join(this.#folder, "psk"), `${ID}:${PSK.toString("hex")}\n`, { mode: 0o600 });
    await this.#startBroker();
    this.#sntp.on("message", (request, { port, address }) => this.#sntp.send(timeReply(request), port, address));
    this.#sntp.bind(0, "127.0.0.1");
    await once(this.#sntp, "listening");
    const ports = { port: this.#port, recoveryPort: this.#recoveryPort };
    return {
      id: ID,
      broker: "127.0.0.1",
      serverName: "localhost",
      ...ports,
      sntp: `127.0.0.1:${this.#sntp.address().port}`,
      intervalSeconds: 1,
      patienceSeconds: 2,
    };
  }

  /** @param host path of linux-host; @param library path of mc.so */
  async run(host, library) {
    await this.#provision(host, library);
    const sensor = this.#processes.start(host, [library], { cwd: join(this.#folder, "run") });
    const watcher = this.#client("mosquitto_sub", "watcher", "-v", "-q", "1", "-t", `devices/${ID}/up/#`);
    await sensor.line(/the clock is set/);
    say("  the clock is set by SNTP");
    say(`  connected: ${(await sensor.line(/^info: connected/)).slice("info: connected details=".length)}`);
    await watcher.line(/up\/reading .*uptimeSeconds/);
    say("  a reading came to another client of the broker");
    await this.#command("read");
    await watcher.line(/up\/done .*"command":"read"/);
    say("  a command was taken and answered");
    await this.#killBroker(sensor);
    await this.#renew(sensor);
    await this.#recover(sensor);
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
      if (device.lines.some((line) => line.startsWith("(ended")))
        throw new Error(`the firmware ended without asking for a certificate\n${device.tail()}`);
      await sleep(20);
    }
    copyFileSync(this.#pki.path("ca.der"), join(run, "ca.der"));
    writeFileSync(join(run, "psk.bin"), PSK);
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
    await this.#startBroker();
    await sensor.line(/^info: connected/, before);
    await this.#readingComes();
    say("  the broker was killed and came back: connected again, readings flow");
  }

  /** Told to by a command: a new key and certificate, proved by a connection before the old ones go. */
  async #renew(sensor) {
    const before = sensor.lines.length;
    await this.#command("renew");
    await sensor.line(/^info: renewed/, before);
    await this.#readingComes();
    say("  a new certificate was asked for, proved and committed; readings flow");
  }

  /** A broker that has the certificate on its revocation list: by the pre-shared key to another one. */
  async #recover(sensor) {
    const before = sensor.lines.length;
    const { newSerial } = JSON.parse(sensor.lines.findLast((line) => /^info: renewed/.test(line)).replace(/^info: renewed details=/, ""));
    await this.#broker.kill("SIGKILL");
    this.#pki.revoke(newSerial);
    await this.#startBroker();
    await sensor.line(/disconnected .*CERTIFICATE_REVOKED/, before);
    await sensor.line(/^info: connected .*"psk"/, before);
    await sensor.line(/^info: recovered/, before);
    const after = sensor.lines.findIndex((line, index) => index >= before && /^info: recovered/.test(line));
    const proved = sensor.lines.slice(before, after).findLast((line) => /^info: connected/.test(line));
    if (!proved?.includes('"mtls"')) throw new Error(`recovered, but not over mutual TLS: ${proved}`);
    await this.#readingComes();
    say("  revoked, it came back by pre-shared key with another certificate");
  }

  /** Same name, same port, a certificate of another CA. */
  async #wrongBroker(sensor) {
    const before = sensor.lines.length;
    await this.#broker.kill("SIGKILL");
    await this.#startBroker({ certificate: "other-server" });
    await sensor.line(/disconnected .*SERVER_CA_UNKNOWN/, before);
    say("  a broker with a certificate of another CA was refused");
    if (sensor.lines.slice(before).some((line) => /^info: connected/.test(line)))
      throw new Error(`connected to the wrong broker\n${sensor.tail()}`);
  }

  #command(name) {
    return this.#client("mosquitto_pub", "watcher", "-q", "1", "-t", `devices/${ID}/down/${name}`, "-m", "").line(/ended: 0/);
  }

  async #readingComes() {
    const watcher = this.#client("mosquitto_sub", "watcher", "-C", "1", "-v", "-q", "1", "-t", `devices/${ID}/up/reading`);
    await watcher.line(/up\/reading/);
  }

  /** @param options the broker's certificate */
  async #startBroker({ certificate = "server" } = {}) {
    const configuration = join(this.#folder, "mosquitto.conf");
    const lines = [
      `listener ${this.#port} 127.0.0.1`,
      `cafile ${this.#pki.path("clients.crt")}`,
      `crlfile ${this.#pki.path("clients.crl")}`,
      `certfile ${this.#pki.path(`${certificate}.crt`)}`,
      `keyfile ${this.#pki.path(`${certificate}.key`)}`,
      "require_certificate true",
      "use_identity_as_username true",
      `listener ${this.#recoveryPort} 127.0.0.1`,
      "psk_hint scenario",
      "use_identity_as_username true",
      `psk_file ${join(this.#folder, "psk")}`,
      "user root",
      "persistence false",
      "allow_anonymous false",
      "set_tcp_nodelay true",
    ];
    writeFileSync(configuration, `${lines.join("\n")}\n`);
    this.#broker = this.#processes.start(findProgram("mosquitto"), ["-c", configuration]);
    await this.#broker.line(/mosquitto version .* running/);
    if (certificate === "server") await this.#authority.start();
  }

  /** A program of mosquitto with the certificate of `name`. */
  #client(program, name, ...words) {
    const tls = ["--cafile", this.#pki.path("ca.crt"), "--cert", this.#pki.path(`${name}.crt`), "--key", this.#pki.path(`${name}.key`)];
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
