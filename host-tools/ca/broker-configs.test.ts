import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import mqtt from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { runningMosquittos } from "../brokers/mosquitto/mosquitto-process.js";
import { writeConfiguration } from "../brokers/mosquitto/mosquitto-output.js";
import { bringUpToDate } from "../brokers/mosquitto/mosquitto-reload.js";
import type { WrittenBrokerConfig } from "./broker-configs.js";
import type { OutputResult } from "./broker-sync.js";

const scene = new Scene();
afterEach(() => scene.clean());

const code = (expected: string): unknown => expect.objectContaining({ code: expected, nextStep: expect.stringMatching(/./) });

async function configured(ca: CertificateAuthority): Promise<WrittenBrokerConfig & { mtlsPort: number }> {
  const [mtlsPort, pskPort] = await freePorts();
  return {
    mtlsPort,
    ...(await ca.writeBrokerConfig({ engine: "mosquitto", out: join(scene.directory(), "broker"), mtlsPort, pskPort, bind: "127.0.0.1" })),
  };
}

describe("writing a broker's configuration", () => {
  it("is refused where something else is, and changes nothing", async () => {
    const ca = await scene.ca();
    const out = scene.directory();
    writeFileSync(join(out, "mosquitto.conf"), "listener 1883\n");
    const request = { engine: "mosquitto" as const, out, mtlsPort: 8883, pskPort: 8884 };
    await expect(ca.writeBrokerConfig(request)).rejects.toEqual(code("OUT_EXISTS"));
    await expect(ca.writeBrokerConfig({ ...request, out: join(out, "mosquitto.conf") })).rejects.toEqual(code("OUT_EXISTS"));
    await expect(ca.writeBrokerConfig({ ...request, out: join(out, "new"), pskPort: 8883 })).rejects.toEqual(code("BAD_PORT"));
    await expect(ca.writeBrokerConfig({ ...request, out: join(out, "new"), user: "nobody-of-that-name" })).rejects.toEqual(
      code("UNKNOWN_USER"),
    );
    await expect(ca.writeBrokerConfig({ ...request, out: join(out, "new\nlistener 1883") })).rejects.toEqual(code("OUT_EXISTS"));
    expect(readdirSync(out)).toEqual(["mosquitto.conf"]);
    expect(openCaReadOnly(ca.directory).outputs).toEqual([]);
  });

  it("can be done again in the same place, with other settings", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    const { files } = await ca.writeBrokerConfig({ engine: "mosquitto", out: directory, mtlsPort: 1, pskPort: 2 });
    expect(files).toEqual(["mosquitto.conf", "limits.nft"]);
    expect(openCaReadOnly(ca.directory).outputs).toMatchObject([{ directory, settings: { mtlsPort: 1, pskPort: 2 } }]);
  });

  it("never puts a file in place that mosquitto cannot load", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    const output = openCaReadOnly(ca.directory).outputs[0];
    if (output === undefined) throw new Error("the output is recorded");
    const before = readdirSync(directory).map((name) => [name, name === "data" ? "" : readFileSync(join(directory, name), "utf8")]);
    const { chainPem, keyPem, trustAnchorPem, issuingPem, crlPem } = await ca.brokerMaterial();
    const good = {
      full: [],
      clients: new Set<string>(),
      shutOut: [],
      recovery: [],
      keys: [],
      brokerChainPem: chainPem,
      brokerKeyPem: keyPem,
      anchorsPem: trustAnchorPem + issuingPem,
      crlPem,
    };
    const trial = join(scene.directory(), "trial");
    const garbageAcl = { ...good, full: [{ name: "x\ngarbage", role: "sensor" }] };
    await expect(writeConfiguration(output, garbageAcl, trial)).rejects.toEqual(code("OUTPUT_REFUSED"));
    await expect(writeConfiguration(output, { ...good, crlPem: "garbage" }, trial)).rejects.toEqual(code("OUTPUT_REFUSED"));
    await expect(writeConfiguration(output, { ...good, brokerKeyPem: "garbage" }, trial)).rejects.toEqual(code("OUTPUT_REFUSED"));
    expect(readdirSync(directory).map((name) => [name, name === "data" ? "" : readFileSync(join(directory, name), "utf8")])).toEqual(
      before,
    );
    expect(existsSync(trial)).toBe(false);
  });
});

describe("keeping configurations up to date", () => {
  it("tells of one that is gone and forgets it", async () => {
    const results: OutputResult[] = [];
    const ca = await scene.ca({}, { onOutput: (result) => results.push(result) });
    const { directory } = await configured(ca);
    rmSync(directory, { recursive: true });
    await provisionDevice(ca, "dev1");
    expect(results).toEqual([
      { directory, changed: [], reloaded: false, loaded: false, ended: [], held: [], problem: code("OUTPUT_GONE") },
    ]);
    expect(openCaReadOnly(ca.directory).outputs).toEqual([]);
  });

  it("mends files that somebody changed", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    writeFileSync(join(directory, "mtls.acl"), "");
    expect(await ca.syncOutputs()).toEqual([{ directory, changed: ["mtls.acl"], reloaded: false, loaded: false, ended: [], held: [] }]);
    expect(await ca.syncOutputs()).toEqual([{ directory, changed: [], reloaded: false, loaded: false, ended: [], held: [] }]);
  });

  it("says so when a revocation did not reach a broker's files, and can be done again", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    await provisionDevice(ca, "dev1");
    rmSync(join(directory, "psk.txt"));
    mkdirSync(join(directory, "psk.txt"));
    await expect(ca.revoke({ id: "dev1" })).rejects.toEqual(code("OUTPUT_FAILED"));
    expect(openCaReadOnly(ca.directory).get("dev1").state).toBe("revoked");
    rmSync(join(directory, "psk.txt"), { recursive: true });
    // No broker runs, so that old sessions ended cannot be proved either.
    await expect(ca.revoke({ id: "dev1" })).rejects.toMatchObject({
      code: "OUTPUT_FAILED",
      outcome: { state: "revoked", serials: [], brokers: [{ problem: { code: "OUTPUT_UNPROVED" } }] },
    });
    expect(readFileSync(join(directory, "psk.txt"), "utf8")).not.toContain("dev1");
  });

  it("does not take another process for the broker because of a stale pid file", async () => {
    const ca = await scene.ca();
    const { directory, configFile } = await configured(ca);
    expect(runningMosquittos(directory)).toEqual([]);
    writeFileSync(join(directory, "mosquitto.pid"), `${process.pid}\n`);
    expect(runningMosquittos(directory)).toEqual([]);
    const other = await configured(ca);
    const stranger = await scene.mosquitto(other.configFile);
    writeFileSync(join(directory, "mosquitto.pid"), `${stranger.pid}\n`);
    expect(runningMosquittos(directory)).toEqual([]);
    expect(runningMosquittos(other.directory)).toEqual([stranger.pid]);
    const broker = await scene.mosquitto(configFile);
    expect(runningMosquittos(directory)).toEqual([broker.pid]);
  });

  it("finds a broker that was started with a relative path", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    const child = spawn("/usr/sbin/mosquitto", ["-c", "mosquitto.conf"], { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
    try {
      await new Promise<void>((resolve) => child.stderr.on("data", (text) => String(text).includes("running") && resolve()));
      expect(runningMosquittos(directory)).toEqual([child.pid]);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

describe("telling a running broker", () => {
  it("reaches it with every change, however quickly they follow each other", async () => {
    const results: OutputResult[] = [];
    const ca = await scene.ca({}, { onOutput: (result) => results.push(result) });
    const [mtlsPort, pskPort] = await freePorts();
    const { configFile } = await ca.writeBrokerConfig({
      engine: "mosquitto",
      out: join(scene.directory(), "broker"),
      mtlsPort,
      pskPort,
      bind: "127.0.0.1",
      retain: true,
    });
    await scene.mosquitto(configFile);
    for (let i = 0; i < 12; i++) {
      const { keyPem, chainPem, trustAnchorPem } = await ca.issueClient({ name: `monitor${i}`, role: "monitor" });
      const client = scene.client(
        await mqtt.connectAsync({ protocol: "mqtts", host: "localhost", port: mtlsPort, key: keyPem, cert: chainPem, ca: trustAnchorPem }),
      );
      // The ACL is judged when the retained messages are sent: without it the client would wait for the next ones.
      const told = new Promise((resolve) => client.once("message", resolve));
      await client.subscribeAsync("$SYS/broker/version");
      expect(await told).toBe("$SYS/broker/version");
    }
    expect(results.map(({ reloaded, problem }) => [reloaded, problem])).toEqual(Array.from({ length: 12 }, () => [true, undefined]));
    expect(await ca.syncOutputs()).toMatchObject([{ changed: [], reloaded: false }]);
  });

  it("finds a broker without its pid file, and says so when one does not load its files", async () => {
    const ca = await scene.ca();
    const { configFile, directory } = await configured(ca);
    const broker = await scene.mosquitto(configFile);
    rmSync(join(directory, "mosquitto.pid"));
    await provisionDevice(ca, "dev1");
    expect(await ca.syncOutputs()).toMatchObject([{ directory, changed: [], reloaded: false, loaded: true }]);
    const output = openCaReadOnly(ca.directory).outputs[0];
    if (output === undefined) throw new Error("the output is recorded");
    const never = {
      full: [],
      clients: new Set<string>(),
      shutOut: [],
      recovery: [],
      keys: [],
      brokerChainPem: "",
      brokerKeyPem: "not its key",
      anchorsPem: "",
      crlPem: "",
    };
    await expect(bringUpToDate(output, never, true, 1)).rejects.toEqual(code("OUTPUT_NOT_RELOADED"));
    await broker.kill("SIGKILL");
    expect(await bringUpToDate(output, never, true, 1)).toBe("silent");
  });
});

describe("mosquitto's memory", () => {
  it("survives a kill -9 with what it had acknowledged and saved", async () => {
    const ca = await scene.ca();
    const { configFile, mtlsPort } = await configured(ca);
    const device = await provisionDevice(ca, "dev1");
    const backend = await ca.issueClient({ name: "backend", role: "backend" });
    const connect = (shown: typeof backend | typeof device, clientId: string): ReturnType<typeof mqtt.connectAsync> =>
      mqtt
        .connectAsync({
          protocol: "mqtts",
          host: "localhost",
          port: mtlsPort,
          key: shown.keyPem,
          cert: shown.chainPem,
          ca: shown.trustAnchorPem,
          clientId,
          clean: false,
          reconnectPeriod: 0,
        })
        .then((client) => scene.client(client.on("error", () => undefined)));
    const broker = await scene.mosquitto(configFile);
    const early = await connect(backend, "backend");
    await early.subscribeAsync("devices/+/up/#", { qos: 1 });
    await early.endAsync();
    const saves = broker.log.split("Saving in-memory database").length;
    const publisher = await connect(device, "dev1");
    await publisher.publishAsync("devices/dev1/up/x", "kept", { qos: 1 });
    await broker.logged(new RegExp(`(Saving in-memory database[^]*){${saves}}`));
    // The next answer comes from the turn after the one that saved.
    await publisher.publishAsync("devices/dev1/up/x", "maybe", { qos: 1 });
    await broker.kill("SIGKILL");
    await scene.mosquitto(configFile);
    const message = new Promise((resolve) => {
      const late = scene.client(
        mqtt.connect({
          protocol: "mqtts",
          host: "localhost",
          port: mtlsPort,
          key: backend.keyPem,
          cert: backend.chainPem,
          ca: backend.trustAnchorPem,
          clientId: "backend",
          clean: false,
        }),
      );
      late.once("message", (_topic, payload) => resolve(payload.toString()));
    });
    expect(await message).toBe("kept");
  });
});

describe("a broker's directory", () => {
  it("is kept up to date for a CA that was opened by a relative path", async () => {
    const made = await scene.ca();
    const out = join(made.directory, "..", "broker");
    await made.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort: 8883, pskPort: 8884 });
    const told: OutputResult[] = [];
    const ca = await openCa(relative(process.cwd(), made.directory), PASSPHRASE, { onOutput: (result) => told.push(result) });
    await provisionDevice(ca, "dev1");
    expect(told.filter(({ problem }) => problem !== undefined)).toEqual([]);
    expect(readFileSync(join(out, "psk.txt"), "utf8")).toContain("dev1:");
  });

  it("gets no keys where others could take or replace them, and that is never silent", async () => {
    const ca = await scene.ca();
    const parent = join(ca.directory, "..", "parent");
    const out = join(parent, "broker");
    mkdirSync(parent);
    await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort: 8883, pskPort: 8884 });
    const warnings: string[] = [];
    const listen = (warning: Error & { code?: string }): void => void warnings.push(`${warning.code ?? ""} ${warning.message}`);
    process.on("warning", listen);
    try {
      for (const [path, mode, named] of [
        [out, 0o777, "may write"],
        [parent, 0o777, "may write"],
        [out, 0o770, "may write"],
      ] as const) {
        chmodSync(out, 0o700);
        chmodSync(parent, 0o755);
        chmodSync(path, mode);
        await provisionDevice(ca, `dev-${warnings.length}`);
        await new Promise((resolve) => setImmediate(resolve));
        expect(warnings.at(-1)).toMatch(new RegExp(`^OUTPUT_EXPOSED .*${named}`));
      }
      expect(readFileSync(join(out, "psk.txt"), "utf8")).not.toContain("dev-");
      rmSync(out, { recursive: true });
      symlinkSync(parent, out);
      await provisionDevice(ca, "behind-a-link");
      await new Promise((resolve) => setImmediate(resolve));
      expect(warnings.at(-1)).toMatch(/it is a link/);
    } finally {
      process.off("warning", listen);
    }
  });
});
