import { spawn, type ChildProcess } from "node:child_process";
import { createConnection } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { freePorts, Scene } from "../support/host-tools/scene.js";
import { percentile, reportLines, shutOut } from "./shut-out.js";

const scene = new Scene();
let broker: ChildProcess | undefined;

afterEach(async () => {
  broker?.kill("SIGKILL");
  await scene.clean();
});

/** In a PID namespace of its own where that is allowed: its pid file then holds a number that means nothing here. */
async function start(configFile: string, port: number): Promise<void> {
  const inNamespace = process.getuid?.() === 0 ? ["unshare", "--pid", "--fork", "--kill-child"] : [];
  const [command = "", ...args] = [...inNamespace, "/usr/sbin/mosquitto", "-c", configFile];
  broker = spawn(command, args, { stdio: "ignore" });
  for (;;) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host: "localhost", port }, () => resolve(true)).on("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("the soak of shutting out", () => {
  it("finds no session that survives a revocation, a replacement or a recovery, and nothing lost by others", async () => {
    const report = await shutOut(scene, { devices: 6, rounds: 1 }, await freePorts(), "localhost", start, () => undefined);
    expect(report).toMatchObject({ survivors: 0, lostSessions: 0, lostMessages: 0 });
    expect(report.durations.map(({ kind, goneMs }) => [kind, goneMs.length])).toEqual([
      ["revoke", 1],
      ["replace", 1],
      ["recover", 1],
    ]);
    expect(reportLines(report)).toHaveLength(7);
  });

  it("takes percentiles of what was measured", () => {
    expect([percentile([3, 1, 2], 0.5), percentile([1, 2, 3, 4], 0.99), percentile([], 0.5)]).toEqual([2, 4, NaN]);
  });
});
