import { execFile } from "node:child_process";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { buildCli } from "../support/host-tools/test-cli.js";

beforeAll(buildCli);

/** What a soak shows, whatever its exit code: in so short a form that depends on what the machine does beside. */
async function shownBy(soak: string, ...options: string[]): Promise<string> {
  const file = join(import.meta.dirname, "../../dist/test/soak", `${soak}.js`);
  return await new Promise((resolve) => execFile(process.execPath, [file, ...options], (_, stdout) => resolve(stdout)));
}

describe.concurrent("the short form of", { timeout: 600_000 }, () => {
  it("a reconnect storm shows a prediction, the SDK and MQTT.js side by side, and every message of the SDK's arrives", async () => {
    const shown = await shownBy("storm", "--devices", "12", "--away", "2", "--after", "5", "--settle", "1", "--predictions", "1");
    const rows = ["Hawser, predicted", "Hawser, measured", "MQTT.js, fixed 1 s"].map((name) =>
      new RegExp(`^${name} +([0-9.]+) +([0-9.]+) `, "m").exec(shown)?.slice(1).map(Number),
    );
    for (const [peak = 0, attempts = 0] of rows.map((row) => row ?? [])) expect([peak > 0, attempts >= 2]).toEqual([true, true]);
    expect(shown).toMatch(/^ +5 +\d+ +\d+ +\d+ /m);
    expect(shown).toMatch(/ peak: measured \/ predicted [0-9.]+$/m);
    expect(shown).not.toContain("was lost");
  });

  it("a fleet through every fault loses nothing that was accepted", async () => {
    const shown = await shownBy("fleet-soak", "--devices", "6", "--minutes", "0.7", "--engine", "mosquitto");
    const faults = [
      "broker down",
      "broker restart",
      "authority away",
      "another issuing CA",
      "name servers down",
      "clocks ahead",
      "network down",
    ];
    const toxics = [
      "latency",
      "bandwidth",
      "reset_peer",
      "stall",
      "timeout",
      "slicer",
      "half_open",
      "slow_close",
      "limit_data",
      "captive_portal",
    ];
    for (const what of [...faults, ...toxics.map((toxic) => `network ${toxic}`)]) expect(shown).toContain(what);
    expect(shown).toContain("passed no message lost");
  });
});
