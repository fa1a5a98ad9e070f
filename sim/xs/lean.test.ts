/** A lean device on XS: without texts, and of one version of MQTT where that is wanted. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCli, CLI } from "../../test/support/host-tools/test-cli.js";
import { NodeDriver } from "../../test/support/xs/device-driver.js";
import { deviceSettings, playDeviceLife } from "../../test/support/xs/device-scenario.js";
import { Plant } from "../../test/support/xs/plant.js";
import { no32Bits } from "../../test/support/xs/pointer-sizes.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import type { Bundle, LeanOptions } from "../../firmware/build/xs-bundle.js";
import { bundleDeviceProgram, XsDevice } from "./xs-device.js";

const folder = mkdtempSync(join(tmpdir(), "hawser-xs-lean-"));
const devices: XsDevice[] = [];
let plant: Plant;

beforeAll(async () => {
  await buildCli();
  plant = await Plant.build();
}, 600_000);

afterAll(async () => {
  for (const device of devices) {
    device.kill();
    await device.exited;
  }
  await plant.close();
  rmSync(folder, { recursive: true, force: true });
});

async function startLean(name: string, lean: LeanOptions): Promise<XsDevice> {
  const device = await XsDevice.start({ folder: join(folder, name), lean });
  devices.push(device);
  return device;
}

async function library(name: string, lean?: LeanOptions): Promise<Bundle> {
  return (await bundleDeviceProgram(join(folder, name), lean)).library;
}

/** What `hawser explain` makes of lines, with the texts of a build. */
function explained(lines: readonly string[], { texts }: Bundle): string[] {
  const file = join(folder, "texts.json");
  writeFileSync(file, JSON.stringify(texts));
  const input = `${lines.join("\n")}\n`;
  return execFileSync(process.execPath, [CLI, "explain", "--texts", file], { input, encoding: "utf8" }).trimEnd().split("\n");
}

const LEFT_OUT = /\{\w{4}[|}]/;

it.skipIf(no32Bits).each([
  ["both versions", {}, 5],
  ["5.0 only", { protocolVersion: 5 }, 5],
  ["3.1.1 only", { protocolVersion: 4 }, 4],
] as const)(
  "lives the life of a device on Node with %s, and explain puts its texts back",
  async (name, lean, protocolVersion) => {
    const onNode = await playDeviceLife(new NodeDriver(), plant, { id: `node-lean-${name.replace(/\W/g, "")}`, protocolVersion });
    const device = await startLean(name, lean);
    const id = `lean-${name.replace(/\W/g, "")}`;
    expect(await playDeviceLife(device, plant, { id, protocolVersion })).toEqual(onNode);
    const said = device.output.map((line) => JSON.stringify(line)).filter((line) => LEFT_OUT.test(line));
    const read = explained(said, await library(`${name}-texts`, lean));
    expect(read.filter((line) => LEFT_OUT.test(line))).toEqual([]);
    expect(said.join()).not.toContain("ended TLS with alert");
    expect(read.join()).toContain("the server ended TLS with alert 44 (certificate_revoked)");
  },
  600_000,
);

it.skipIf(no32Bits).each([
  [5, 4, "protocolVersion must be 5: this build speaks no other version of MQTT (got 4)"],
  [4, 5, "protocolVersion must be 4: this build speaks no other version of MQTT (got 5)"],
] as const)(
  "refuses at once, in a build of version %i alone, to speak version %i",
  async (only, other, words) => {
    const device = await startLean(`refuses-${other}`, { protocolVersion: only });
    await device.call(
      "install",
      await plant.provision(`refuses-${other}`, () => device.call("makeKey", { commonName: `refuses-${other}` })),
    );
    const refused = device.call("start", { settings: deviceSettings(plant, other) });
    const { code, message } = await refused.then(
      () => expect.unreachable("it started"),
      (error: unknown) => error as { code: string; message: string },
    );
    expect(code).toBe("BAD_CONFIG");
    expect(message).not.toContain("protocol version");
    const [line] = explained([message], await library(`refused-${other}`, { protocolVersion: only }));
    expect(line).toContain(words);
  },
  600_000,
);

it("leaves out the texts, and in a build of one version what only the other needs", async () => {
  const [whole, lean, five, old] = await Promise.all([
    library("whole"),
    library("lean", {}),
    library("five", { protocolVersion: 5 }),
    library("old", { protocolVersion: 4 }),
  ]);
  const has = ({ modules }: Bundle, path: string): boolean => modules.some(([name, bytes]) => name.endsWith(path) && bytes > 0);
  expect([whole, lean, five, old].map((bundle) => has(bundle, "sdk/mqtt/link/enhanced-authentication.ts"))).toEqual([
    true,
    true,
    true,
    false,
  ]);
  const choosing = /CONNECTION_CLOSED","CONNECTION_RESET"\]\)/;
  expect([whole, lean, five, old].map(({ file }) => choosing.test(readFileSync(file, "utf8")))).toEqual([true, true, false, false]);
  // Names of reason codes, which error codes are made of; labels of keys; and what another library's error says.
  const names = groups(readFileSync(join(packageRoot(), "sdk/mqtt/contract/reason-codes.ts"), "utf8"), /^ {2}0x\w\w: \["([^"]+)"/gm);
  const labels = ["hawser psk ${}", "hawser psk ${} ${}"];
  expect(names.length).toBeGreaterThan(30);
  for (const { file } of [lean, five, old])
    expect(words(readFileSync(file, "utf8")).filter((text) => !names.includes(text))).toEqual(labels);
  process.stdout.write(`bundle on XS: ${[whole, lean, five, old].map(({ sizeBytes }) => sizeBytes).join(", ")} (target 112640)\n`);
  // The target is missed, see docs/performance.md; bars keep them from growing.
  expect(lean.sizeBytes).toBeLessThan(140_000);
  expect(five.sizeBytes).toBeLessThan(139_000);
  expect(old.sizeBytes).toBeLessThan(135_300);
});

function groups(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, group = ""]) => group);
}

/** Texts of two words and more in a bundle. */
function words(source: string): string[] {
  const texts = [...source.matchAll(/"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g)].map(([, one, other]) => one ?? other ?? "");
  const plain = texts
    .map((text) => text.replace(/\$\{[^}]*\}/g, "${}").replace(/\n|\\n/g, " "))
    .filter((text) => /[a-z]{2} [a-z$]/i.test(text));
  return [...new Set(plain)].sort();
}
