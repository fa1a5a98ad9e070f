import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { memoryKeyStore, memoryStorage } from "./memory-stores.js";
import { nodePlatform } from "./node-platform.js";
import { TEST_SCRYPT_COST } from "./vault/sealed.js";
import { Vault } from "./vault/vault.js";

it("puts a vault's keys and records and the machine's clocks into one platform", () => {
  const room = mkdtempSync(join(tmpdir(), "hawser-platform-"));
  const vault = Vault.create(join(room, "vault"), "passphrase", { scryptCost: TEST_SCRYPT_COST });
  try {
    const platform = nodePlatform({ vault });
    platform.storage.put("device", Buffer.of(1));
    platform.keyStore.generate("key-a");
    expect(vault.storage.list("")).toEqual(["device"]);
    expect(vault.signingKey("key-a").type).toBe("private");
    platform.log("info", "nobody listens");
  } finally {
    vault.close();
    rmSync(room, { recursive: true });
  }
});

it("takes a key store, a storage, a scheduler and a log of one's own", () => {
  const lines: string[] = [];
  const scheduler = { after: () => () => undefined };
  const given = {
    keyStore: memoryKeyStore(),
    storage: memoryStorage(),
    scheduler,
    log: (_level: string, message: string) => lines.push(message),
  };
  const platform = nodePlatform(given);
  expect([platform.keyStore, platform.storage, platform.scheduler]).toEqual([given.keyStore, given.storage, scheduler]);
  platform.log("warn", "heard");
  expect(lines).toEqual(["heard"]);
});

it("has clocks that run, trust in the wall clock, and random numbers", () => {
  const { clock, random } = nodePlatform({ keyStore: memoryKeyStore(), storage: memoryStorage() });
  const before = clock.monotonicMs();
  expect(clock.monotonicMs()).toBeGreaterThanOrEqual(before);
  expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(60_000);
  expect(clock.wallTrusted()).toBe(true);
  const drawn = [random.bytes(16), random.bytes(16)];
  expect(drawn[0]).not.toEqual(drawn[1]);
  expect(Object.prototype.toString.call(drawn[0])).toBe("[object Uint8Array]");
  expect(drawn.map((bytes) => bytes.length)).toEqual([16, 16]);
  const fractions = Array.from({ length: 100 }, () => random.fraction());
  expect(fractions.every((fraction) => fraction >= 0 && fraction < 1)).toBe(true);
  expect(new Set(fractions).size).toBeGreaterThan(90);
});
