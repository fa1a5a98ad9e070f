import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { buildCli, CLI, hawser } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";

beforeAll(buildCli);

test("the embedded broker's own output gives the events that mosquitto's log gives", async () => {
  const cwd = await directoryWithCa();
  const output = join(cwd, "broker.jsonl");
  const descriptor = openSync(output, "w");
  // The commands of the page, on ports that are free, and to an end.
  const page = readFileSync(fileURLToPath(new URL("../../../docs/monitoring.md", import.meta.url)), "utf8");
  const script = /<!-- monitor-embedded -->\s*```sh\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const [run = "", watch = ""] = script.trim().split("\n");
  expect(run).toMatch(/^hawser .* > broker\.jsonl &$/);
  const wordsOf = (line: string): string[] => line.replace(/ > .*/, "").split(" ").slice(1);
  const args = [CLI, ...wordsOf(run), "--mtls-port", "0", "--psk-port", "0"];
  const broker = spawn(process.execPath, args, { cwd, env: { ...process.env, ...ENV }, stdio: ["ignore", descriptor, "ignore"] });
  closeSync(descriptor);
  onTestFinished(() => void broker.kill("SIGKILL"));
  const lines = (): Record<string, unknown>[] =>
    readFileSync(output, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const waitFor = async (event: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const found = lines().find((line) => line["event"] === event);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const port = Number((await waitFor("ready"))["mtlsPort"]);
  const stranger = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  stranger.on("error", () => undefined).on("secureConnect", () => stranger.write(Buffer.from("100c00044d5154540402003c0000", "hex")));
  await once(stranger, "close");
  await waitFor("refused");
  broker.kill("SIGTERM");
  await once(broker, "close");
  const { code, stdout, stderr } = await hawser([...wordsOf(watch), "--once", "--json"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  const events = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events).toMatchObject([
    { event: "broker-started", version: "Hawser" },
    { event: "refused", reason: "no_certificate" },
    { event: "broker-stopped" },
  ]);
  const told = (event: string): unknown => lines().find((line) => line["event"] === event)?.["time"];
  expect(events.map(({ time }) => time)).toEqual([told("ready"), told("refused"), told("stopped")]);
});
