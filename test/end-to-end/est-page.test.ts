/** The two programs and the command of docs/any-broker.md, "Enrolment by EST", run as they stand there but for hosts and ports. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { buildCli, hawser, temporaryDirectory } from "../support/host-tools/test-cli.js";
import { OpensslCa, TestEstServer } from "../support/node/est-server.js";
import { freePort, mtlsListener, startMosquitto } from "../support/node/test-mosquitto.js";
import { block } from "./readme-blocks.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

beforeAll(buildCli);

/** What the page's reader would do with the device. */
const RENEW_ONCE = `
device.listen(({ type, code }) => {
  if (type !== "renewed" && type !== "renewal-failed") return;
  process.stdout.write([type, code].join(" "));
  void device.stop().then(() => vault.close());
});
await device.online();
device.renew();
`;

it("leads from a one-time password to a certificate that replaces the first", { timeout: 60_000 }, async () => {
  const directory = temporaryDirectory();
  const ca = new OpensslCa(directory);
  const identity = await ca.server();
  const est = await TestEstServer.start(ca, identity);
  onTestFinished(() => est.stop());
  est.passwords.set("meter-7", "once");
  writeFileSync(join(directory, "one-time-password"), "once\n", { mode: 0o600 });
  const port = await freePort();
  const files = { "ca.pem": ca.pem("root"), "server.pem": identity.cert, "server.key": identity.key };
  const broker = await startMosquitto(directory, "broker", files, [...mtlsListener(port)]);
  onTestFinished(() => broker.stop());

  const run = async (name: string, more = ""): Promise<string> => {
    const source = block(name, "docs/any-broker.md")
      .replaceAll("https://est.example.com", est.url)
      .replace('"mqtt.example.com", port: 8883', `"localhost", port: ${port}`)
      .replace('"hawser"', JSON.stringify(pathToFileURL(join(DIST, "sdk/index.js")).href))
      .replace('"hawser/node"', JSON.stringify(pathToFileURL(join(DIST, "sim/node/index.js")).href));
    writeFileSync(join(directory, `${name}.mjs`), transformSync(`${source}\n${more}`, { loader: "ts", format: "esm" }).code);
    const child = spawn(process.execPath, [`${name}.mjs`], {
      cwd: directory,
      env: { ...process.env, HAWSER_PASSPHRASE: "correct horse battery staple" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(code).toBe(0);
    return Buffer.concat(chunks).toString();
  };
  await run("est-provision");
  expect(await run("est-device", RENEW_ONCE)).toBe("renewed ");
  expect(est.operations).toEqual(["cacerts", "simpleenroll", "cacerts", "simplereenroll"]);

  est.passwords.set("meter-7", "once");
  const line = block("est-enrol", "docs/any-broker.md").replace(/\\\n/g, "").replace("https://est.example.com", est.url);
  const [, , ...parameters] = line.replace("meter-7.vault", "by-command.vault").trim().split(/ +/);
  const env = { HAWSER_PASSPHRASE: "correct horse battery staple" };
  expect(await hawser(parameters, { cwd: directory, env })).toMatchObject({ code: 0, stderr: "" });
});
