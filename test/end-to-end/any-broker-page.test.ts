/** The programs of docs/any-broker.md and docs/monitoring.md, strictly compiled; and the one without a hosted broker for real. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, expect, it, onTestFinished, vi } from "vitest";
import { freePort, startMosquitto } from "../support/node/test-mosquitto.js";
import { TestCa } from "../support/node/test-pki.js";
import { ExampleProgram } from "./example-programs.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAMS = ["any-broker", "monitoring"].flatMap((page) =>
  [...readFileSync(join(ROOT, `docs/${page}.md`), "utf8").matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, program = ""]) => program),
);
const SOURCES = {
  hawser: "sdk/index.ts",
  "hawser/mqtt": "sdk/mqtt/index.ts",
  "hawser/node": "sim/node/index.ts",
  "hawser/presets": "sdk/presets/index.ts",
  "hawser/reports": "sdk/reports/index.ts",
};
/** What the pages say elsewhere, or leave to their reader. */
const GIVEN = `
import type { Device as AnyDevice, DeviceConfig, Message, Platform } from "hawser";
declare global {
  const platform: Platform;
  const config: DeviceConfig;
  const credential: NonNullable<DeviceConfig["credential"]>;
  const login: NonNullable<DeviceConfig["login"]>;
  const accessToken: string;
  const handle: (request: Message) => void;
}
export type Given = AnyDevice;
`;

const room = mkdtempSync(join(tmpdir(), "hawser-page-"));
afterAll(() => rmSync(room, { recursive: true, force: true }));

it("compile under the strictest rules, with the names of the public face alone", () => {
  expect(PROGRAMS.length).toBeGreaterThan(7);
  const folder = join(room, "programs");
  mkdirSync(folder);
  writeFileSync(join(folder, "given.ts"), GIVEN);
  for (const [at, program] of PROGRAMS.entries()) writeFileSync(join(folder, `program-${at}.ts`), program);
  const { compilerOptions } = JSON.parse(readFileSync(join(ROOT, "tsconfig.json"), "utf8")) as { compilerOptions: object };
  // A program of a page stands for itself, and may end with what its reader goes on with.
  const free = { noUnusedLocals: false, typeRoots: [join(ROOT, "node_modules/@types")] };
  const paths = Object.fromEntries(Object.entries(SOURCES).map(([name, file]) => [name, [join(ROOT, file)]]));
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { ...compilerOptions, ...free, paths }, include: ["*.ts"] }),
  );
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  let said = "";
  try {
    execFileSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    said = (error as { stdout: string }).stdout;
  }
  expect(said).toBe("");
}, 300_000);

it("the device with a password reaches a broker that asks for no certificate", async () => {
  const ca = await TestCa.create("ISRG");
  const { chainPem, keyPem } = await ca.server(["localhost"]);
  const port = await freePort();
  const passwords = join(room, "passwords");
  execFileSync("mosquitto_passwd", ["-c", "-b", passwords, "meter", "correct horse"]);
  const files = { "server.pem": chainPem, "server.key": keyPem, passwords: readFileSync(passwords, "utf8") };
  const lines = [`listener ${port} 127.0.0.1`, "certfile server.pem", "keyfile server.key", "allow_anonymous false"];
  const broker = await startMosquitto(mkdtempSync(join(room, "broker-")), "broker", files, [...lines, "password_file passwords"]);
  onTestFinished(() => broker.stop());
  const host = `host: "0123abcd.s1.eu.hivemq.cloud", port: 8883`;
  const program = PROGRAMS.find((one) => one.includes(host)) ?? "";
  const folder = mkdtempSync(join(room, "device-"));
  writeFileSync(join(folder, "isrg-root-x1.pem"), new X509Certificate(ca.trustAnchors[0] ?? "").toString());
  writeFileSync(join(folder, "program.ts"), `${program.replace(host, `host: "localhost", port: ${port}`)}\n${WAITS}`);
  const alias = Object.fromEntries(Object.entries(SOURCES).map(([name, file]) => [name, join(ROOT, file)]));
  const outfile = join(folder, "program.mjs");
  await build({ entryPoints: [join(folder, "program.ts")], outfile, bundle: true, platform: "node", format: "esm", alias });
  vi.stubEnv("MQTT_PASSWORD", "correct horse");
  onTestFinished(() => void vi.unstubAllEnvs());
  const running = new ExampleProgram(folder, outfile);
  await running.says(/online by password, 0/);
  expect(await running.ended).toBe(0);
});

/** What the page leaves to its reader: to use the device. */
const WAITS = `
await device.online();
const { reasonCode } = await device.publish("up/power", "21.5", { qos: 1 });
console.log("online by " + device.status.credential + ", " + (reasonCode & ~0x10));
await device.stop();
`;
