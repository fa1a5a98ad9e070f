/** `hawser label`: to a file and to a printer, logged, and scanned back. */
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildCli, hawser } from "../../../test/support/host-tools/test-cli.js";
import { PASSPHRASE, provisionDevice, Scene } from "../../../test/support/host-tools/scene.js";

const scene = new Scene();
beforeAll(buildCli);
afterAll(() => scene.clean());

test("a label is printed, logged, and known again when it is scanned; a reprint replaces it", async () => {
  const ca = await scene.ca();
  for (const id of ["sensor-1", "sensor-2"]) await provisionDevice(ca, id);
  const cwd = scene.directory();
  const run = (...args: string[]): ReturnType<typeof hawser> =>
    hawser([...args.slice(0, 2), "--dir", ca.directory, ...args.slice(2)], { cwd, env: { HAWSER_PASSPHRASE: PASSPHRASE } });

  const printed: Buffer[] = [];
  const printer = createServer((socket) => socket.on("data", (data) => printed.push(data))).listen(0, "127.0.0.1");
  await once(printer, "listening");
  const { port } = printer.address() as AddressInfo;
  const made = await run(
    "label",
    "make",
    "--device",
    "sensor-1",
    "--kind",
    "secret",
    "--new-secret",
    "s1.txt",
    "--format",
    "zpl",
    "--printer",
    `127.0.0.1:${port}`,
    "--json",
  );
  expect(JSON.parse(made.stdout)).toMatchObject({
    device: "sensor-1",
    copy: 1,
    payloadSha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  });
  const secret = readFileSync(join(cwd, "s1.txt"), "utf8").trim();
  expect([made.stdout.includes(secret), statSync(join(cwd, "s1.txt")).mode & 0o777]).toEqual([false, 0o600]);
  expect(Buffer.concat(printed).toString()).toContain(`^FDMA,sensor-1:${secret}^FS`);
  expect(readFileSync(join(ca.directory, "audit.jsonl"), "utf8")).not.toContain(secret);
  printer.close();

  writeFileSync(join(cwd, "scan"), `sensor-1:${secret}\r\n`);
  expect((await run("label", "check", "--scan-file", "scan", "--device", "sensor-1")).stdout).toBe("Current secret label of sensor-1.\n");
  expect((await run("label", "check", "--scan-file", "scan", "--device", "sensor-2")).stderr).toMatch(
    /^error LABEL_WRONG: this is the label of sensor-1, not of sensor-2/,
  );
  const again = await run("label", "make", "--device", "sensor-1", "--kind", "secret", "--out", "again.pdf");
  expect(again.stdout).toContain("label number 2");
  expect((await run("label", "check", "--scan-file", "scan")).code).toBe(6);

  // Refused before anything is made or logged.
  for (const [args, code] of [
    [["--device", "nobody", "--out", "x.svg"], "UNKNOWN_ID"],
    [["--device", "sensor-2", "--text", "a^XA", "--out", "x.svg"], "BAD_LABEL"],
    [["--device", "sensor-2", "--kind", "gs1", "--gtin", "09521234543210", "--out", "x.svg"], "BAD_LABEL"],
    [["--device", "sensor-2", "--kind", "esp", "--out", "x.svg"], "USAGE"],
    [["--device", "sensor-2"], "USAGE"],
  ] as const) {
    expect((await run("label", "make", ...args)).stderr).toContain(`error ${code}`);
    expect(existsSync(join(cwd, "x.svg"))).toBe(false);
  }
  expect(readFileSync(join(ca.directory, "audit.jsonl"), "utf8").match(/"label-made"/g)).toHaveLength(2);
});
