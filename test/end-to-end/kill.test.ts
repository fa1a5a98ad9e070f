/** `kill -9` of a device at random moments, while it publishes and while it rotates its certificate. */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { buildCli } from "../support/host-tools/test-cli.js";
import { makeSite, Observer, type Site } from "./site.js";

const DEVICE = fileURLToPath(new URL("accepting-device.mjs", import.meta.url));
const KILLS = 50;

interface Life {
  /** Numbers that `publish` accepted before the end. */
  accepted: number[];
  serial: string;
  renewed: number;
}

/** Runs the device until it has connected, then for a random while, then kills it. */
async function live(site: Site, first: number, afterMs: number, renew: boolean): Promise<Life> {
  const child = spawn(
    process.execPath,
    [DEVICE, join(site.directory, "vault"), String(site.mtlsPort), String(site.pskPort), String(first)],
    {
      env: { PATH: process.env["PATH"] ?? "", ...site.env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const life: Life = { accepted: [], serial: "", renewed: 0 };
  const errors: string[] = [];
  const heard: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk.toString("utf8")));
  const ended = new Promise<string>((resolve) => child.once("close", (code, signal) => resolve(`${code ?? signal}: ${errors.join("")}`)));
  const connected = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = JSON.parse(line) as { event: string; n: number; credential: string; serial: string };
      if (event.event === "accepted") life.accepted.push(event.n);
      else heard.push(line);
      if (event.event === "renewed") life.renewed++;
      if (event.event === "connected" && event.credential === "mtls") {
        life.serial = event.serial;
        resolve();
      }
    });
  });
  await Promise.race([
    connected,
    ended.then((how) => Promise.reject(new Error(`the device ended before it connected: ${how}\n${heard.slice(0, 20).join("\n")}`))),
  ]);
  if (renew) child.kill("SIGUSR1");
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill("SIGKILL");
  await ended;
  return life;
}

beforeAll(buildCli);

it(
  `connects again after each of ${KILLS} kills at random moments, with the old identity or the new, and loses nothing it had accepted`,
  { timeout: 240_000 },
  async () => {
    const site = await makeSite();
    const observer = await Observer.watching(site, "devices/sensor-1/up/#");
    const accepted: number[] = [];
    const serials = new Set<string>();
    let renewals = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      // Every other life begins with a rotation; the kill falls somewhere into it or just after.
      const life = await live(site, (accepted.at(-1) ?? 0) + 1, randomInt(0, 500), kill % 2 === 0);
      accepted.push(...life.accepted);
      serials.add(life.serial);
      renewals += life.renewed;
    }
    const last = await live(site, (accepted.at(-1) ?? 0) + 1, 0, false);
    accepted.push(...last.accepted);
    // One more life, long enough to deliver what the others left in the outbox.
    const delivered = observer.until((seen) => new Set(seen.map(({ text }) => Number(text))).size >= accepted.length);
    const finishing = live(site, (accepted.at(-1) ?? 0) + 1, 3_000, false);
    await Promise.all([delivered, finishing]);

    const seen = new Set(observer.seen.map(({ text }) => Number(text)));
    expect(accepted.filter((n) => !seen.has(n))).toEqual([]);
    expect(accepted.length).toBeGreaterThan(KILLS);
    expect(serials.size).toBeGreaterThan(1);
    expect(renewals).toBeGreaterThan(0);
  },
);
