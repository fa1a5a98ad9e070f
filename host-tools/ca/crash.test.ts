/**
 * Every moment at which a change can be cut off. While an operation runs, the directory is copied after each single step on the disk; each
 * copy is what a kill at that moment leaves behind, and each has to open as a CA in which the operation happened or did not happen.
 */
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { saltedPsk, toldSalt } from "../../test/support/host-tools/salted-psk.js";
import { PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { witnessFile } from "../ca-directory/revision-witness.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { answerRequest } from "./offline-root.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const steps = vi.hoisted(() => ({ after: (): void => undefined }));

vi.mock("node:fs", async (original) => {
  const { steppedFs } = await import("../../test/support/host-tools/stepped-fs.js");
  return steppedFs(
    await original<Record<string, unknown>>(),
    ["writeSync", "renameSync", "unlinkSync", "linkSync", "ftruncateSync", "mkdirSync"],
    () => steps.after(),
  );
});

const scene = new Scene();
afterEach(() => scene.clean());

/** Runs the operation; gives a copy of `parent` for each step on the way. The copies' locks are nobody's. */
async function cuts(parent: string, operation: () => Promise<unknown>): Promise<string[]> {
  const room = scene.directory();
  const copies: string[] = [];
  let copying = false;
  steps.after = () => {
    if (copying) return;
    copying = true;
    const copy = join(room, String(copies.length));
    cpSync(parent, copy, { recursive: true });
    copies.push(copy);
    copying = false;
  };
  try {
    await operation();
  } finally {
    steps.after = () => undefined;
  }
  for (const copy of copies) settle(copy);
  return copies;
}

function settle(copy: string): void {
  rmSync(join(copy, "ca", "ca.lock"), { force: true });
  for (const lock of readdirSync(join(copy, "ca", "reservations"))) rmSync(join(copy, "ca", "reservations", lock));
}

/**
 * Opens a copy as the next process would: at the place of the original, which the CA's files speak of, and as if nobody had seen what came
 * later.
 */
async function reopen(copy: string, parent: string): Promise<CertificateAuthority> {
  rmSync(parent, { recursive: true });
  renameSync(copy, parent);
  rmSync(witnessFile(join(parent, "ca")), { force: true });
  const ca = await openCa(join(parent, "ca"), PASSPHRASE);
  expect(existsSync(join(parent, "ca", "journal.json"))).toBe(false);
  expect(verifyAudit(join(parent, "ca"))).toMatchObject({ ok: true });
  return ca;
}

/** Number of the last change, state of the one device and of its certificates. */
function stageOf(ca: CertificateAuthority): string {
  const device = openCaReadOnly(ca.directory).list()[0];
  const revision = readFileSync(join(ca.directory, "revision"), "utf8").split(" ")[0] ?? "";
  return [revision, device?.state ?? "nothing", ...(device?.certificates.map(({ status }) => status) ?? [])].join(" ");
}

/** Every file of the CA but its lock, each with its hash. */
function contentOf(directory: string): string {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter(
    (name) => statSync(join(directory, name)).isFile() && name !== "ca.lock",
  );
  const hash = (file: string): string =>
    createHash("sha256")
      .update(readFileSync(join(directory, file)))
      .digest("hex");
  return files
    .sort()
    .map((file) => `${file} ${hash(file)}`)
    .join("\n");
}

const parentOf = (ca: CertificateAuthority): string => join(ca.directory, "..");

describe("a change that is cut off anywhere", () => {
  it("while provisioning: the next attempt succeeds or finds the device active, never with two certificates", async () => {
    const ca = await scene.ca();
    const { csr } = await testKey("dev1");
    const copies = await cuts(parentOf(ca), async () => {
      const reservation = await ca.reserve({ id: "dev1", role: "sensor" });
      await ca.complete(reservation, csr);
      await ca.activate(reservation);
    });
    expect(copies.length).toBeGreaterThan(30);
    const seen = new Set<string>();
    for (const copy of copies) {
      const next = await reopen(copy, parentOf(ca));
      const state = (await next.list())[0]?.state ?? "nothing";
      // Once reopened, copies of the same stage are alike: one of them is tried out.
      if (seen.has(stageOf(next))) continue;
      seen.add(stageOf(next));
      if (state !== "active") await provisionDevice(next, "dev1");
      const { certificates } = openCaReadOnly(next.directory).get("dev1");
      const material = await next.brokerMaterial();
      expect(certificates.filter(({ status }) => status === "active")).toHaveLength(1);
      for (const { serial, status } of certificates) expect(material.revokedSerials.has(serial)).toBe(status !== "active");
      expect(material.pskFor("dev1")).toHaveLength(32);
    }
    expect([...seen]).toEqual(["1 nothing", "2 reserved", "3 reserved active", "4 active active"]);
  });

  it("while replacing: the old device works until the new one has its certificate, and then no more", async () => {
    const ca = await scene.ca();
    const old = await provisionDevice(ca, "dev1");
    const copies = await cuts(parentOf(ca), () => provisionDevice(ca, "dev1", true));
    const seen = new Set<string>();
    for (const copy of copies) {
      const next = await reopen(copy, parentOf(ca));
      const { state, serial } = openCaReadOnly(next.directory).get("dev1");
      const { revokedSerials } = await next.brokerMaterial();
      expect(revokedSerials.has(old.serial)).toBe(state !== "active" || serial !== old.serial);
      const stage = stageOf(next);
      if (!seen.has(stage)) await provisionDevice(next, "dev1", true);
      seen.add(stage);
    }
    expect(seen.size).toBe(3);
  });

  it("while revoking: shut out everywhere, the broker's files included, or nowhere", async () => {
    const ca = await scene.ca();
    const parent = parentOf(ca);
    const { serial } = await provisionDevice(ca, "dev1");
    await ca.writeBrokerConfig({ engine: "mosquitto", out: join(parent, "broker"), mtlsPort: 8883, pskPort: 8884 });
    // No broker runs: that it ended the sessions is not proved.
    const copies = await cuts(parent, () => expect(ca.revoke({ id: "dev1" })).rejects.toMatchObject({ code: "OUTPUT_FAILED" }));
    const states: string[] = [];
    for (const copy of copies) {
      const next = await reopen(copy, parentOf(ca));
      const material = await next.brokerMaterial();
      const out = material.stateOf("dev1") === "revoked";
      states.push(out ? "out" : "in");
      const file = (name: string): string => readFileSync(join(parent, "broker", name), "utf8");
      expect(material.revokedSerials.has(serial)).toBe(out);
      expect(file("mtls.acl").includes("user dev1\ntopic deny #")).toBe(out);
      expect(file("mtls.acl").includes("topic write devices/dev1/up/#")).toBe(!out);
      expect(file("psk.txt").includes("dev1")).toBe(!out);
      expect(file("crl.pem")).toBe(material.crlPem);
    }
    expect(states.join("")).toMatch(/^(in)+(out)+$/);
  });

  it("while a device's report changes its pre-shared key: in registry and broker alike, together with its certificates, or not at all", async () => {
    const ca = await scene.ca();
    const parent = parentOf(ca);
    const { psk, serial } = await provisionDevice(ca, "dev1");
    const out = join(parent, "broker");
    await ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort: 8883, pskPort: 8884 });
    const next = await ca.issueFromCsr("dev1", (await testKey("dev1")).csr);
    const salt = "5a".repeat(16);
    const report = (of: CertificateAuthority): Promise<unknown> =>
      of.retireOlder("dev1", next.serial, { salt: toldSalt(psk, salt) }).catch(() => undefined);
    const copies = await cuts(parent, () => report(ca));
    const states: string[] = [];
    for (const copy of copies) {
      const reopened = await reopen(copy, parent);
      const { pskFor, revokedSerials } = await reopened.brokerMaterial();
      const isChanged = revokedSerials.has(serial);
      states.push(isChanged ? "new" : "old");
      expect(pskFor("dev1")).toEqual(isChanged ? saltedPsk(psk, salt) : psk);
      const keys = readFileSync(join(out, "psk.txt"), "utf8").split("\n");
      expect(keys).toContain(`dev1~recovery:${pskFor("dev1")!.toString("hex")}`);
      if (states.at(-1) === states.at(-2)) continue;
      // The device says it again.
      await report(reopened);
      expect((await reopened.brokerMaterial()).pskFor("dev1")).toEqual(saltedPsk(psk, salt));
    }
    expect(states.join("")).toMatch(/^(old)+(new)+$/);
  });

  it("while renewing the broker's certificate: key and certificate belong together", async () => {
    const ca = await scene.ca();
    const copies = await cuts(parentOf(ca), () => ca.renewBrokerCertificate());
    const pairs = new Set<string>();
    for (const copy of copies) {
      const { keyPem, chainPem } = await (await reopen(copy, parentOf(ca))).brokerMaterial();
      pairs.add(keyPem + chainPem);
    }
    expect(pairs.size).toBe(2);
  });

  it.each<[string, boolean, (ca: CertificateAuthority) => Promise<unknown>]>([
    ["rolling the root over", false, (ca) => ca.rollOverRoot()],
    ["retiring the root before", true, (ca) => ca.retirePrevious(true)],
  ])("while %s: every file is as before or as after it, and the CA goes on either way", async (_what, isRolledOver, change) => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    if (isRolledOver) await ca.rollOverRoot();
    const before = contentOf(ca.directory);
    const copies = await cuts(parentOf(ca), () => change(ca));
    const after = contentOf(ca.directory);
    const stages: string[] = [];
    for (const copy of copies) {
      const next = await reopen(copy, parentOf(ca));
      const isDone = next.trustAnchors.length === (isRolledOver ? 1 : 2);
      expect(contentOf(next.directory)).toBe(isDone ? after : before);
      stages.push(isDone ? "done" : "not done");
      if (stages.at(-1) === stages.at(-2)) continue;
      // Once reopened, copies of the same stage are alike: one of them goes on.
      expect(await verifyCa(next.directory, PASSPHRASE)).toMatchObject({ problems: [], strangers: [] });
      await (isDone ? next.renewCrl() : change(next));
      expect(await verifyCa(next.directory, PASSPHRASE)).toMatchObject({ problems: [], strangers: [] });
    }
    expect(stages.length).toBeGreaterThan(20);
    expect(stages.join(" ")).toMatch(/^(not done )+(done ?)+$/);
  });

  it("while an offline root is asked and answers: asked again, the CA has one new issuing CA, of the key it asked about first", async () => {
    const ca = await scene.ca({ offlineRoot: { passphrase: PASSPHRASE } });
    const root = join(scene.directory(), "safe");
    renameSync(join(ca.directory, "offline-root"), root);
    const ask = async (of: CertificateAuthority): Promise<string> => {
      const options = { signerFor: () => expect.fail("no token"), confirm: () => Promise.resolve(true) };
      const request = await of.makeRootRequest("rollover");
      await of.importAnswer((await answerRequest(root, PASSPHRASE, request, options)).text);
      return /^With the key: (.*)$/m.exec(request)?.[1] ?? "";
    };
    let key = "";
    const copies = await cuts(parentOf(ca), async () => (key = await ask(ca)));
    const stages = new Map<string, string>();
    for (const copy of copies) {
      const next = await reopen(copy, parentOf(ca));
      const stage = readFileSync(join(next.directory, "revision"), "utf8").split(" ")[0] ?? "";
      if (!stages.has(stage))
        stages.set(
          stage,
          openCaReadOnly(next.directory).previous !== undefined ? "done" : (await ask(next)) === key ? "same key" : "new key",
        );
    }
    expect([...stages.values()]).toEqual(["new key", "same key", "done"]);
  });
});
