import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDeviceBundle, buildLeanBundles } from "./device-bundle.mjs";
import { ROOT } from "./package-root.mjs";

const folder = mkdtempSync(join(tmpdir(), "hawser-bundle-"));
const source = (name: string): string => readFileSync(join(folder, name), "utf8");
/** The first group of every match. */
const groups = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, group = ""]) => group);
const importsOf = (name: string): string[] => [...new Set(groups(source(name), /\b(?:from|import)\s*"([^"]+)"/g))].sort();
/** What a thin module exports. */
const exportedBy = (name: string): string[] => groups(source(name), /export \{ (.*) \}/g).flatMap((list) => list.split(", "));
const NODE_GLOBAL =
  /(?<![.\w$"'#])(?:process|setTimeout|setInterval|queueMicrotask|require|TextEncoder|TextDecoder|structuredClone|console)\s*[.(]/;

beforeAll(() => buildDeviceBundle({ folder }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("what a Moddable project compiles", () => {
  it("is one module that imports nothing, and boards that import Moddable's modules", () => {
    expect(importsOf("device.js")).toEqual([]);
    const everywhere = ["embedded:io/serial", "embedded:io/socket/tcp", "embedded:io/socket/udp", "hawser/device", "time", "timer"];
    expect(importsOf("board-esp32.js")).toEqual([...everywhere, "embedded:network/interface/wifi", "embedded:storage/key-value"].sort());
    expect(importsOf("board-linux.js")).toEqual([...everywhere, "embedded:storage/files"].sort());
  });

  it("leaves presets to a module that a project names itself", () => {
    expect(importsOf("presets.js")).toEqual(["moddable:hawser/device"]);
    expect(source("device.js")).not.toContain("AWS IoT Core");
    expect(source("presets.js")).toContain("AWS IoT Core");
    expect(readFileSync(join(ROOT, "manifest.json"), "utf8")).not.toContain("presets");
    expect(readFileSync(join(ROOT, "docs", "any-broker.md"), "utf8")).toContain(
      '"hawser/presets": "./node_modules/hawser/dist/xs/presets"',
    );
  });

  it("leaves kept sessions to a module that a project names itself, of 2.5 KB at most", () => {
    expect(importsOf("sleep.js")).toEqual(["moddable:hawser/device"]);
    expect(source("device.js")).not.toContain("tls-session");
    expect(source("sleep.js")).toMatch(/export\s*\{\w+ as keepSessions\}/);
    expect(source("sleep.js").length).toBeLessThan(2_560);
    expect(readFileSync(join(ROOT, "manifest.json"), "utf8")).not.toContain("sleep");
    expect(readFileSync(join(ROOT, "docs", "firmware.md"), "utf8")).toContain('"hawser/sleep": "./node_modules/hawser/dist/xs/sleep"');
  });

  it("leaves a device's own reports to a module that a project names itself, of 1.5 KB at most", () => {
    expect(importsOf("reports.js")).toEqual([]);
    expect(source("device.js")).not.toContain("identity/report");
    expect(source("reports.js")).toMatch(/export\s*\{\w+ as reportTrouble\}/);
    expect(source("reports.js").length).toBeLessThan(1_536);
    expect(readFileSync(join(ROOT, "manifest.json"), "utf8")).not.toContain("reports");
    expect(readFileSync(join(ROOT, "docs", "monitoring.md"), "utf8")).toContain(
      '"hawser/reports": "./node_modules/hawser/dist/xs/reports"',
    );
  });

  it("uses no global of Node", () => {
    for (const name of ["device.js", "presets.js", "reports.js", "sleep.js", "board-esp32.js", "board-linux.js"]) {
      expect(source(name)).not.toMatch(NODE_GLOBAL);
    }
  });

  it("binds C functions by names that the C sources have", () => {
    const names = ["device.js", "sleep.js", "board-esp32.js", "board-linux.js"].flatMap((name) =>
      groups(source(name), /\b[nN]ative\("(\w+)"\)/g),
    );
    const header = ["native/xs-natives.h", "linux/private-directory.c", "esp32/uart0-pins.c", "esp32/running-image.c"]
      .map((path) => readFileSync(join(ROOT, "firmware", path), "utf8"))
      .join("");
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !header.includes(`void ${name}(`))).toEqual([]);
  });

  it("gives applications the same names as on Node", async () => {
    const sdk = (await import(pathToFileURL(join(ROOT, "sdk", "index.ts")).href)) as object;
    const mqtt = (await import(pathToFileURL(join(ROOT, "sdk", "mqtt", "index.ts")).href)) as object;
    expect(exportedBy("hawser.js").sort()).toEqual(Object.keys(sdk).sort());
    expect(exportedBy("mqtt.js").sort()).toEqual(Object.keys(mqtt).sort());
    expect(exportedBy("firmware.js")).toEqual(["openBoard"]);
  });

  it("exports from the one module all that the thin ones and the boards import", () => {
    const names = new Set(groups(source("device.js"), /\bas (\w+)/g));
    const wanted = ["hawser.js", "mqtt.js"].flatMap(exportedBy);
    for (const board of ["board-esp32.js", "board-linux.js", "presets.js", "sleep.js"]) {
      const lists = groups(source(board), /import\s*\{([^}]*)\}\s*from\s*"(?:moddable:)?hawser\/device"/g);
      wanted.push(...lists.flatMap((list) => list.split(",")).map((item) => item.trim().split(" as ")[0] ?? ""));
    }
    expect(wanted.length).toBeGreaterThan(10);
    expect(wanted.filter((name) => !names.has(name))).toEqual([]);
  });
});

describe("lean builds", () => {
  it("have the same exports and imports as the whole one, in fewer bytes, and their texts lie beside them", async () => {
    const sizes = await buildLeanBundles({ folder });
    const exported = (name: string): string[] =>
      groups(groups(source(name), /export\s*\{([^}]*)\}/g).join(), /(?:as )?(\w+)(?:,|$)/g).sort();
    const texts = Object.keys(JSON.parse(source("lean-texts.json")) as object);
    expect(Object.keys(sizes)).toEqual(["lean", "lean-5", "lean-311"]);
    for (const [name, bytes] of Object.entries(sizes)) {
      expect(importsOf(`${name}.js`)).toEqual([]);
      expect(exported(`${name}.js`)).toEqual(exported("device.js"));
      expect(bytes).toBeLessThan(0.92 * source("device.js").length);
      expect(groups(source(`${name}.js`), /["`]\{(\w{4})[|}]/g).filter((id) => !texts.includes(id))).toEqual([]);
    }
    expect(texts.length).toBeGreaterThan(250);
  });

  it("are named in docs/firmware.md", () => {
    const page = readFileSync(join(ROOT, "docs", "firmware.md"), "utf8");
    expect(page).toContain('"hawser/device": "./node_modules/hawser/dist/xs/lean-5"');
  });
});

describe("manifest.json", () => {
  const manifest = readFileSync(join(ROOT, "manifest.json"), "utf8");

  it("names only files that are made or kept", () => {
    const named = [...manifest.matchAll(/"\.\/(dist\/xs\/[\w-]+)"/g)].map(([, path = ""]) => path.slice("dist/xs/".length));
    expect(named.sort()).toEqual(["board-esp32", "board-linux", "device", "firmware", "hawser", "mqtt"]);
    for (const name of named) expect(source(`${name}.js`).length).toBeGreaterThan(0);
  });

  it("preloads the module that knows the build time", () => {
    const { preload } = JSON.parse(manifest) as { preload: string[] };
    expect(preload).toContain("hawser/device");
    expect(source("device.js")).toContain("Date.now()");
  });
});
