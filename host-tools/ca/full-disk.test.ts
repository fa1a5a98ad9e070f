/** Changes on a disk that has room for a part of them: each is done, or the directory is as it was. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { errorCode } from "../../sdk/errors.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const disk = vi.hoisted(() => ({ write: (_sizeBytes: number): void => undefined }));

vi.mock("node:fs", async (original) => {
  const fs = await original<Record<string, unknown>>();
  const wrap =
    (name: string) =>
    (...args: unknown[]): unknown => {
      disk.write((args[1] as { length: number }).length);
      return (fs[name] as (...args: unknown[]) => unknown)(...args);
    };
  return { ...fs, writeSync: wrap("writeSync"), writeFileSync: wrap("writeFileSync"), fsyncSync: () => undefined };
});

const BLOCK_BYTES = 4096;
const blocks = (sizeBytes: number): number => Math.ceil(sizeBytes / BLOCK_BYTES);

const scene = new Scene();
afterEach(async () => {
  disk.write = () => undefined;
  await scene.clean();
});

function usedBlocks(directory: string): number {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).map((file) => statSync(join(directory, file)));
  return files.reduce((sum, file) => sum + (file.isFile() ? blocks(file.size) : 0), 0);
}

/** Runs `work` while the disk of the CA has so many blocks left; the code of its error. */
async function withFreeBlocks(ca: CertificateAuthority, count: number, work: () => Promise<unknown>): Promise<string> {
  const limit = usedBlocks(ca.directory) + count;
  disk.write = (sizeBytes) => {
    if (usedBlocks(ca.directory) + blocks(sizeBytes) > limit) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
  };
  try {
    await work();
    return "";
  } catch (error) {
    return errorCode(error);
  } finally {
    disk.write = () => undefined;
  }
}

/** As `hawser provision` does it. */
async function provision(ca: CertificateAuthority, csr: Uint8Array, replace: boolean): Promise<void> {
  const reservation = await ca.reserve({ id: "dev1", role: "sensor", replace });
  try {
    await ca.complete(reservation, csr);
    await ca.activate(reservation);
  } catch (error) {
    await ca.abandon(reservation).catch(() => undefined);
    throw error;
  }
}

type Change = (ca: CertificateAuthority, csr: Uint8Array) => Promise<unknown>;

/** Every file of the CA but its lock, with what is in it. */
function contentOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(directory, name)).isFile());
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), "base64")]));
}

describe("a change on a disk that is nearly full", () => {
  it.each<[string, boolean, Change]>([
    ["provisions a device", false, (ca, csr) => provision(ca, csr, false)],
    ["replaces a device", true, (ca, csr) => provision(ca, csr, true)],
    ["issues a client", false, (ca) => ca.issueClient({ name: "backend", role: "backend" })],
    ["revokes a device", true, (ca) => ca.revoke({ id: "dev1" })],
    ["rolls the issuing CA over", false, (ca) => ca.rollOver()],
  ])("%s, or says STORAGE_FULL and has changed nothing", async (_what, withDevice, change) => {
    const { csr } = await testKey("dev1");
    const codes: string[] = [];
    for (let free = 0; codes.at(-1) !== ""; free += 1) {
      const ca = await scene.ca();
      if (withDevice) await provisionDevice(ca, "dev1");
      const before = openCaReadOnly(ca.directory).list();
      const code = await withFreeBlocks(ca, free, () => change(ca, csr));
      codes.push(code);
      expect([free, existsSync(join(ca.directory, "journal.json"))]).toEqual([free, false]);
      expect(verifyAudit(ca.directory)).toMatchObject({ ok: true });
      if (code !== "") expect([free, code, openCaReadOnly(ca.directory).list()]).toEqual([free, "STORAGE_FULL", before]);
    }
    expect(codes.length).toBeGreaterThan(4);
    expect(codes.length).toBeLessThan(20);
  });

  it.each<[string, boolean, (ca: CertificateAuthority) => Promise<unknown>]>([
    ["rolls the root over", false, (ca) => ca.rollOverRoot()],
    ["retires the root before", true, (ca) => ca.retirePrevious(true)],
  ])(
    "%s, or says STORAGE_FULL and leaves every file as it was; with room again, the same CA does it",
    async (_what, isRolledOver, change) => {
      const ca = await scene.ca();
      await provisionDevice(ca, "dev1");
      if (isRolledOver) await ca.rollOverRoot();
      const before = contentOf(ca.directory);
      let failures = 0;
      for (;;) {
        const code = await withFreeBlocks(ca, failures, () => change(ca));
        if (code === "") break;
        expect([failures, code, contentOf(ca.directory)]).toEqual([failures, "STORAGE_FULL", before]);
        failures += 1;
      }
      expect(failures).toBeGreaterThan(4);
      expect((await verifyCa(ca.directory, PASSPHRASE)).problems).toEqual([]);
      expect(ca.trustAnchors).toHaveLength(isRolledOver ? 1 : 2);
      await expect(openCa(ca.directory, PASSPHRASE).then((next) => next.trustAnchors)).resolves.toEqual(ca.trustAnchors);
    },
  );
});
