/** `hawser authority` while another process changes the CA's passphrase: it would refuse everybody, so it ends and says why. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Scene } from "../../../test/support/host-tools/scene.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, runningBroker, url } from "../../../test/support/host-tools/test-fleet.js";

vi.setConfig({ testTimeout: 300_000 });

const scene = new Scene();
const NEW = { HAWSER_PASSPHRASE: "four words that nobody knows" };

beforeAll(() => buildCli(), 120_000);
afterAll(() => scene.clean());

async function changePassphrase(cwd: string): Promise<void> {
  const env = { ...ENV, HAWSER_NEW_PASSPHRASE: NEW.HAWSER_PASSPHRASE };
  expect(await hawser(["ca", "passphrase", "--dir", "ca"], { cwd, env })).toMatchObject({ code: 0 });
}

test("it ends with PASSPHRASE_CHANGED though no device asks for anything, and serves again with the new one", async () => {
  const cwd = await directoryWithCa();
  const { mtlsPort } = await runningBroker(cwd, "mosquitto");
  const start = ["authority", "--dir", "ca", "--url", url(mtlsPort)];
  const authority = new RunningCli(start, { cwd, env: ENV });
  await authority.waitFor("connected");
  await changePassphrase(cwd);
  expect(await authority.ended).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('{"error":{"code":"PASSPHRASE_CHANGED"') as string,
  });
  const again = new RunningCli(start, { cwd, env: NEW });
  await again.waitFor("connected");
  again.signal("SIGTERM");
  expect(await again.ended).toMatchObject({ code: 0 });
});

test("it ends while it still waits for its broker", async () => {
  const cwd = await directoryWithCa();
  const start = ["authority", "--dir", "ca", "--url", url(9), "--connect-timeout", "0", "--crl-port", "0"];
  const authority = new RunningCli(start, { cwd, env: ENV });
  await authority.waitFor("crl-ready");
  await changePassphrase(cwd);
  expect(await authority.ended).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('{"error":{"code":"PASSPHRASE_CHANGED"') as string,
  });
});
