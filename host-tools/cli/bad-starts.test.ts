import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { installIdentity } from "../../sdk/identity/store.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { Vault } from "../../sim/node/vault/vault.js";
import { openCa } from "../ca/certificate-authority.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { initCa } from "../ca/ca-creation.js";
import { startEmbedded } from "./foreground-broker/embedded-engine.js";
import type { BrokerEngine } from "./foreground-broker/broker-engine.js";
import { buildCli, hawser, temporaryDirectory, treeState } from "../../test/support/host-tools/test-cli.js";
import { ENV, PASSPHRASE, url } from "../../test/support/host-tools/test-fleet.js";

/**
 * A CA with a broker and a device's vault, which the tests copy before they spoil it; the broker's certificate is for "localhost" alone.
 */
let template = "";
let ca: CertificateAuthority;
let broker: BrokerEngine;

beforeAll(async () => {
  await buildCli();
  template = mkdtempSync(join(tmpdir(), "hawser-bad-"));
  ca = await newCa(join(template, "ca"));
  await newVault(ca, "sensor-1", join(template, "v"));
  broker = await startEmbedded(ca, { mtlsPort: 0, pskPort: 0 }, () => undefined);
});

afterAll(async () => {
  await broker.stop();
  rmSync(template, { recursive: true, force: true });
});

async function newCa(directory: string): Promise<CertificateAuthority> {
  await initCa(directory, { name: "Test", passphrase: PASSPHRASE, brokerHosts: ["localhost"], scryptCost: TEST_SCRYPT_COST });
  return openCa(directory, PASSPHRASE);
}

async function newVault(by: CertificateAuthority, id: string, path: string, lifetimeMs?: number): Promise<void> {
  const vault = Vault.create(path, PASSPHRASE, { scryptCost: TEST_SCRYPT_COST });
  vault.keyStore.generate("key-a");
  const reservation = await by.reserve({ id, role: "sensor" });
  const { chain, trustAnchors, psk, pskIdentity } = await by.complete(reservation, vault.keyStore.csr("key-a", id), lifetimeMs);
  vault.keyStore.importPsk("psk", psk);
  installIdentity(vault.storage, vault.keyStore, { id, role: "sensor", chain, trustAnchors, pskIdentity });
  await by.activate(reservation);
  vault.close();
}

/** A directory with a copy of the good vault in `v`. */
function copy(): string {
  const cwd = temporaryDirectory();
  cpSync(join(template, "v"), join(cwd, "v"), { recursive: true });
  return cwd;
}

/** One line on stderr with the code, the exit code, and nothing changed on disk. */
async function expectRefusal(
  cwd: string,
  args: readonly string[],
  code: string,
  exit: number,
  env: Record<string, string> = ENV,
): Promise<string> {
  const before = treeState(cwd);
  const finished = await hawser(args, { cwd, env });
  expect(finished.stderr).toMatch(new RegExp(`^error ${code}: [^\\n]+ Next: [^\\n]+\\n$`));
  expect(finished.code).toBe(exit);
  expect(treeState(cwd)).toEqual(before);
  return finished.stderr;
}

const simRun = (to: string, ...more: string[]): string[] => ["sim", "run", "--vault", "v", "--url", to, ...more];

/** A port on which nobody listens, for as long as the test runs. */
async function silentPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => void server.close());
  return port;
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("sim run refuses, and leaves the disk as it was,", () => {
  test("a vault that is not there, also before it asks for a passphrase", async () => {
    await expectRefusal(temporaryDirectory(), simRun("mqtts://localhost:1"), "VAULT_NOT_FOUND", 6);
    await expectRefusal(temporaryDirectory(), simRun("mqtts://localhost:1"), "VAULT_NOT_FOUND", 6, {});
  });

  test("a wrong passphrase, and none", async () => {
    await expectRefusal(copy(), simRun("mqtts://localhost:1"), "WRONG_PASSPHRASE", 3, { HAWSER_PASSPHRASE: "wrong" });
    await expectRefusal(copy(), simRun("mqtts://localhost:1"), "PASSPHRASE_REQUIRED", 3, {});
  });

  test("a vault with a file cut short, whichever it is", async () => {
    const files = readdirSync(join(template, "v"), { recursive: true, encoding: "utf8" }).filter((file) =>
      statSync(join(template, "v", file)).isFile(),
    );
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      const cwd = copy();
      const path = join(cwd, "v", file);
      truncateSync(path, statSync(path).size - 1);
      expect(await expectRefusal(cwd, simRun("mqtts://localhost:1"), "VAULT_CORRUPT", 6)).toContain(file);
    }
  });

  test("a vault that another process holds", async () => {
    const cwd = copy();
    const held = Vault.open(join(cwd, "v"), PASSPHRASE);
    onTestFinished(() => held.close());
    await expectRefusal(cwd, simRun("mqtts://localhost:1"), "VAULT_IN_USE", 5);
  });

  test("a topic outside of the device's own", async () => {
    await expectRefusal(copy(), simRun("mqtts://localhost:1", "--topic", "down/x"), "INVALID_TOPIC", 2);
    await expectRefusal(copy(), simRun("mqtts://localhost:1", "--topic", "up/#"), "INVALID_TOPIC", 2);
  });

  test("a key and a certificate that do not belong together", async () => {
    const cwd = copy();
    const vault = Vault.open(join(cwd, "v"), PASSPHRASE);
    vault.keyStore.generate("key-a");
    vault.close();
    await expectRefusal(cwd, simRun(url(broker.mtlsPort)), "KEY_MISMATCH", 3);
  });

  test("a broker of another CA", async () => {
    const cwd = temporaryDirectory();
    const elsewhere = temporaryDirectory();
    await newVault(await newCa(join(elsewhere, "ca")), "sensor-1", join(cwd, "v"));
    await expectRefusal(cwd, simRun(url(broker.mtlsPort)), "SERVER_CA_UNKNOWN", 3);
  });

  test("a host name that is not in the broker's certificate", async () => {
    const stderr = await expectRefusal(copy(), simRun(`mqtts://127.0.0.1:${broker.mtlsPort}`), "SERVER_NAME_MISMATCH", 3);
    expect(stderr).toContain("127.0.0.1");
  });

  test("an expired certificate without a way to recover", async () => {
    const cwd = temporaryDirectory();
    const anHourAgo = await openCa(join(template, "ca"), PASSPHRASE, { now: () => Date.now() - 3_600_000 });
    await newVault(anHourAgo, "sensor-old", join(cwd, "v"), 60_000);
    // The embedded broker cannot say why; the device can.
    const stderr = await expectRefusal(cwd, simRun(url(broker.mtlsPort)), "NOT_AUTHORIZED", 3);
    expect(stderr).toMatch(/by this clock the device's certificate \w+ expired 20/);
  });

  test("a port where nobody listens, after the time it was given", async () => {
    const port = await closedPort();
    const stderr = await expectRefusal(copy(), simRun(url(port), "--connect-timeout", "300ms"), "CONNECTION_REFUSED", 4);
    expect(stderr).toContain(`no connection to mqtts://localhost:${port} within 0.3 s`);
  });

  test("the broker's PSK port, and asks whether it is that", async () => {
    expect(await expectRefusal(copy(), simRun(url(broker.pskPort), "--connect-timeout", "1s"), "TLS_FAILED", 4)).toContain(
      "not its PSK or plain port",
    );
  });

  test("a server that never says a word", async () => {
    await expectRefusal(copy(), simRun(`mqtts://127.0.0.1:${await silentPort()}`, "--connect-timeout", "300ms"), "CONNECT_TIMEOUT", 4);
  });

  test("and says so in JSON when asked for", async () => {
    const { code, stderr } = await hawser([...simRun(`mqtts://127.0.0.1:${broker.mtlsPort}`), "--json"], { cwd: copy(), env: ENV });
    expect(code).toBe(3);
    expect(JSON.parse(stderr)).toEqual({
      error: { code: "SERVER_NAME_MISMATCH", message: expect.any(String) as string, next: expect.any(String) as string },
    });
  });
});

describe("authority refuses, and leaves the CA as it was,", () => {
  const authority = (to: string, ...more: string[]): string[] => ["authority", "--dir", "ca", "--url", to, ...more];

  function copyOfCa(): string {
    const cwd = temporaryDirectory();
    cpSync(join(template, "ca"), join(cwd, "ca"), { recursive: true });
    return cwd;
  }

  test("a wrong passphrase and a directory that is no CA", async () => {
    await expectRefusal(copyOfCa(), authority("mqtts://localhost:1"), "WRONG_PASSPHRASE", 3, { HAWSER_PASSPHRASE: "wrong" });
    await expectRefusal(temporaryDirectory(), authority("mqtts://localhost:1"), "NOT_A_CA", 6);
  });

  test("a port where nobody listens", async () => {
    await expectRefusal(copyOfCa(), authority(url(await closedPort()), "--connect-timeout", "300ms"), "CONNECTION_REFUSED", 4);
  });

  test("a host name that is not in the broker's certificate", async () => {
    await expectRefusal(copyOfCa(), authority(`mqtts://127.0.0.1:${broker.mtlsPort}`), "SERVER_NAME_MISMATCH", 3);
  });

  test("a broker of another CA", async () => {
    const cwd = temporaryDirectory();
    await newCa(join(cwd, "ca"));
    await expectRefusal(cwd, authority(url(broker.mtlsPort)), "SERVER_CA_UNKNOWN", 3);
  });
});
