import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import mqtt from "mqtt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePorts, isPortFree } from "./free-port.js";
import { findMosquitto, startMosquitto, type MosquittoOptions, type RunningMosquitto } from "./mosquitto-launcher.js";

let directory: string;
const running: RunningMosquitto[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hawser-mosquitto-"));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((broker) => broker.kill()));
  rmSync(directory, { recursive: true, force: true });
});

const writeConfig = (text: string): string => {
  const file = join(directory, "mosquitto.conf");
  writeFileSync(file, text);
  return file;
};

const listeners = (ports: readonly number[]): string =>
  ["log_dest stderr", "log_type all", "allow_anonymous true", ...ports.map((port) => `listener ${port} 127.0.0.1`), ""].join("\n");

const start = async (ports: readonly number[], options: Partial<MosquittoOptions> = {}): Promise<RunningMosquitto> => {
  const broker = await startMosquitto({ configFile: writeConfig(listeners(ports)), ports, ...options });
  running.push(broker);
  return broker;
};

/** Resolves once a line that contains `words` has been logged from here on. */
const lineWith = (words: string): { onLine: (line: string) => void; seen: Promise<string> } => {
  let onLine = (_line: string): void => undefined;
  const seen = new Promise<string>((resolve) => {
    onLine = (line) => (line.includes(words) ? resolve(line) : undefined);
  });
  return { onLine, seen };
};

describe("the mosquitto launcher", () => {
  it("starts a broker that serves on all its ports, and stops it", async () => {
    const ports = await freePorts(2);
    const broker = await start(ports);
    for (const port of ports) {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 });
      await client.endAsync();
    }
    await broker.stop();
    expect(await broker.exited).toEqual({ code: 0, signal: null });
    expect(await isPortFree(ports[0]!)).toBe(true);
    expect(broker.lines().some((line) => line.includes(`Opening ipv4 listen socket on port ${ports[1]}`))).toBe(true);
  });

  it("makes it read its files again", async () => {
    const { onLine, seen } = lineWith("Reloading config");
    const broker = await start(await freePorts(1), { onLine });
    broker.reload();
    expect(await seen).toContain("Reloading config");
  });

  it("kills it, so that another can take its ports", async () => {
    const ports = await freePorts(1);
    const broker = await start(ports);
    await broker.kill();
    expect(await broker.exited).toEqual({ code: null, signal: "SIGKILL" });
    await start(ports);
  });

  it("tells when it ends by itself", async () => {
    const broker = await start(await freePorts(1));
    process.kill(broker.pid, "SIGTERM");
    expect(await broker.exited).toEqual({ code: 0, signal: null });
    await broker.stop();
  });

  it("keeps a bounded number of log lines", async () => {
    const broker = await start(await freePorts(1), { keptLines: 2 });
    expect(broker.lines()).toHaveLength(2);
  });

  it("names the port that another program holds", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    await expect(start([port])).rejects.toMatchObject({ code: "PORT_IN_USE", message: expect.stringContaining(String(port)) });
    // Held where the check before the start does not look, it shows in mosquitto's own log.
    const [free = 0] = await freePorts(1);
    await expect(startMosquitto({ configFile: writeConfig(listeners([free, port])), ports: [free] })).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: expect.stringContaining(String(port)),
    });
    holder.close();
  });

  it("repeats what mosquitto says about a bad configuration", async () => {
    const configFile = writeConfig("no_such_option true\n");
    await expect(startMosquitto({ configFile, ports: await freePorts(1) })).rejects.toMatchObject({
      code: "MOSQUITTO_FAILED",
      message: expect.stringMatching(/exit code \d+.*no_such_option/),
      nextStep: expect.stringContaining(configFile),
    });
    await expect(startMosquitto({ configFile: join(directory, "absent.conf"), ports: await freePorts(1) })).rejects.toMatchObject({
      code: "MOSQUITTO_FAILED",
    });
  });

  it("gives up on a broker that does not open its port, and leaves none behind", async () => {
    const [open = 0, never = 0] = await freePorts(2);
    const configFile = writeConfig(listeners([open]));
    await expect(startMosquitto({ configFile, ports: [open, never], startTimeoutMs: 300 })).rejects.toMatchObject({
      code: "MOSQUITTO_FAILED",
      message: expect.stringContaining(`port ${never}`),
    });
    expect(await isPortFree(open)).toBe(true);
  });

  it("says how to install it where there is none", async () => {
    expect(() => findMosquitto("/nonexistent", [])).toThrow(
      expect.objectContaining({ code: "MOSQUITTO_MISSING", nextStep: expect.stringContaining("apt-get install mosquitto") }),
    );
    await expect(startMosquitto({ configFile: writeConfig(""), ports: [], binary: join(directory, "absent") })).rejects.toMatchObject({
      code: "MOSQUITTO_MISSING",
    });
  });

  it("leaves no broker behind when its own process is killed", async () => {
    const [port = 0] = await freePorts(1);
    const configFile = writeConfig(listeners([port]));
    const outfile = join(directory, "launcher.mjs");
    const source = `import { startMosquitto } from ${JSON.stringify(join(import.meta.dirname, "mosquitto-launcher.ts"))};
      const broker = await startMosquitto({ configFile: process.argv[2], ports: [Number(process.argv[3])] });
      console.log(broker.pid);
      setInterval(() => undefined, 60_000);`;
    buildSync({
      stdin: { contents: source, resolveDir: import.meta.dirname },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile,
      logLevel: "error",
    });
    const parent = spawn(process.execPath, [outfile, configFile, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
    const [output] = (await once(parent.stdout, "data")) as [Buffer];
    expect(() => process.kill(Number(output.toString()), 0)).not.toThrow();
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await expect.poll(() => isPortFree(port), { timeout: 20_000 }).toBe(true);
  });

  it("does not keep its own process alive", async () => {
    const [port = 0] = await freePorts(1);
    const configFile = writeConfig(listeners([port]));
    const outfile = join(directory, "launcher.mjs");
    const source = `import { startMosquitto } from ${JSON.stringify(join(import.meta.dirname, "mosquitto-launcher.ts"))};
      const broker = await startMosquitto({ configFile: process.argv[2], ports: [Number(process.argv[3])] });
      await broker.stop();`;
    buildSync({
      stdin: { contents: source, resolveDir: import.meta.dirname },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile,
      logLevel: "error",
    });
    const parent = spawn(process.execPath, [outfile, configFile, String(port)], { stdio: "inherit" });
    expect(await once(parent, "exit")).toEqual([0, null]);
  });
});

describe("free ports", () => {
  it("are free, different, and never given twice", async () => {
    const given = [...(await freePorts(5)), ...(await freePorts(5))];
    expect(new Set(given).size).toBe(10);
    for (const port of given) expect(await isPortFree(port)).toBe(true);
  });

  it("are not those that someone listens on, on either loopback address", async () => {
    for (const host of ["127.0.0.1", "::1"]) {
      const holder = createServer().listen(0, host);
      await once(holder, "listening");
      expect(await isPortFree((holder.address() as AddressInfo).port)).toBe(false);
      holder.close();
    }
  });
});
