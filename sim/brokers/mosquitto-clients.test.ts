import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestBroker } from "../../test/support/brokers/embedded-test-broker.js";
import type { TestIdentity } from "../../test/support/brokers/test-certificates.js";

let test: TestBroker;
let directory: string;
const children: ChildProcessWithoutNullStreams[] = [];
beforeEach(async () => {
  test = await TestBroker.create();
  directory = mkdtempSync(join(tmpdir(), "hawser-clients-"));
  writeFileSync(join(directory, "ca.pem"), test.authority.trustAnchorPem);
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
  await test.close();
});

const run = (program: string, args: readonly string[]): ChildProcessWithoutNullStreams => {
  const child = spawn(program, args);
  children.push(child);
  return child;
};

const mtlsArguments = (name: string, identity: TestIdentity): string[] => {
  writeFileSync(join(directory, `${name}.pem`), identity.chainPem);
  writeFileSync(join(directory, `${name}.key`), identity.keyPem);
  const files = ["--cafile", join(directory, "ca.pem"), "--cert", join(directory, `${name}.pem`), "--key", join(directory, `${name}.key`)];
  return ["-h", "127.0.0.1", "-p", String(test.mtlsPort), ...files];
};

const pskArguments = (identity: string, keyHex: string): string[] => [
  "-h",
  "127.0.0.1",
  "-p",
  String(test.pskPort),
  "--psk-identity",
  identity,
  "--psk",
  keyHex,
];

describe("mosquitto's own clients at the embedded broker", () => {
  it("talk over certificates, without naming a client identifier", async () => {
    await test.start();
    const reader = run("mosquitto_sub", [
      ...mtlsArguments("backend", await test.authority.issue("backend")),
      "-t",
      "devices/+/up/#",
      "-q",
      "1",
      "-v",
      "-C",
      "1",
    ]);
    const line = once(reader.stdout, "data");
    await test.event("connected");
    const device = mtlsArguments("dev1", await test.authority.issue("dev1"));
    // The reader's subscription may come a moment after its sign-in: retained, the message waits for it.
    const writer = run("mosquitto_pub", [...device, "-t", "devices/dev1/up/temperature", "-m", "21", "-q", "1", "-r"]);
    expect(await once(writer, "exit")).toEqual([0, null]);
    expect(String((await line)[0])).toBe("devices/dev1/up/temperature 21\n");
  });

  it("are told that a revoked certificate is not authorised", async () => {
    const revoked = await test.authority.issue("dev1");
    test.authority.revoke(revoked);
    await test.start();
    const writer = run("mosquitto_pub", [...mtlsArguments("dev1", revoked), "-t", "devices/dev1/up/x", "-m", "1"]);
    const said = once(writer.stderr, "data");
    expect(String((await said)[0])).toContain("Connection error: Connection Refused: not authorised");
  });

  it("talk over a pre-shared key", async () => {
    const key = randomBytes(32);
    test.psks.set("dev1", key);
    await test.start();
    const writer = run("mosquitto_pub", [
      ...pskArguments("dev1", key.toString("hex")),
      "-t",
      "devices/dev1/identity/request",
      "-m",
      "csr",
      "-q",
      "1",
    ]);
    expect(await once(writer, "exit")).toEqual([0, null]);
    expect(await test.event("connected")).toMatchObject({ name: "dev1", scope: "recovery", port: "psk" });
  });
});
