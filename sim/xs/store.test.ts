/** Records and keys of a program on XS, kept by the process that started it. */
import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HawserError } from "../../sdk/errors.js";
import { memoryStorage } from "../node/memory-stores.js";
import { buildHost } from "./host-build.js";
import { nativeParts } from "./native-parts.js";
import { decodePsaKey, encodePsaKey, firstKeyId, slotOfKeyId } from "../node/psa-key-file.js";
import type { HostStore } from "./store-server.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { XsDevice } from "./xs-device.js";

const BUILD_MS = 600_000;
const folder = mkdtempSync(join(tmpdir(), "hawser-xs-store-"));
const programs = new ProgramFolder();
const devices: XsDevice[] = [];

beforeAll(async () => {
  await buildHost({ bits: 64 });
  for (const keys of ["directory", "store"] as const) await buildHost({ bits: 64, native: await nativeParts(64, { keys }) });
}, BUILD_MS);

afterAll(async () => {
  await programs.close();
  for (const device of devices) {
    device.kill();
    await device.exited;
  }
  rmSync(folder, { recursive: true, force: true });
});

/** Remembers what was asked of the keys. */
function memoryStore(): HostStore & { files: Map<number, Uint8Array>; changes: string[] } {
  const files = new Map<number, Uint8Array>();
  const changes: string[] = [];
  const name = (id: number): string => `${slotOfKeyId(id)}/${(id - firstKeyId("key-a")) % 4}`;
  return {
    files,
    changes,
    records: memoryStorage(),
    keys: {
      get: (id) => files.get(id),
      put: (id, file) => void (changes.push(`put ${name(id)}`), files.set(id, file)),
      delete: (id) => void (changes.push(`delete ${name(id)}`), files.delete(id)),
    },
  };
}

async function start(name: string, store?: HostStore): Promise<XsDevice> {
  const device = await XsDevice.start({ folder: join(folder, name), bits: 64, ...(store && { store }) });
  devices.push(device);
  return device;
}

const PSK = Buffer.alloc(32, 7);
const installCommand = { id: "dev-1", role: "sensor", pskIdentity: "dev-1", psk: PSK.toString("base64"), trustAnchors: [] as string[] };

describe("records in the store of the starting process", () => {
  it("are put, read, listed and deleted, however long", async () => {
    const store = memoryStore();
    store.records.put("old", Uint8Array.of(9));
    const source = `
      const storage = ["get", "put", "delete", "list"].map((name) => native("xs_storage_" + name));
      const [get, put, remove, list] = storage;
      put("a.b-c_1", Uint8Array.of(1, 0, 255)); put("empty", new Uint8Array(0)); put("gone", Uint8Array.of(1)); remove("gone"); remove("never");
      put("long", new Uint8Array(300000).fill(3));
      const read = (key) => { const found = get(key); return found && [...new Uint8Array(found)].slice(0, 4); };
      print([read("old"), read("a.b-c_1"), read("empty"), read("gone") ?? "absent", new Uint8Array(get("long")).length, list().sort()]);`;
    const { code, printed, errors } = await programs.run(source, { store });
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(printed).toEqual([[[9], [1, 0, 255], [], "absent", 300_000, ["a.b-c_1", "empty", "long", "old"]]]);
    expect(store.records.get("long")).toEqual(new Uint8Array(300_000).fill(3));
  });

  it("tell a full store from a failing one", async () => {
    const store = memoryStore();
    store.records.put = (key) => {
      throw new HawserError(key === "full" ? "STORAGE_FULL" : "STORAGE_FAILED", `no room for ${key}`);
    };
    const source = `for (const key of ["full", "broken"]) try { native("xs_storage_put")(key, new Uint8Array(1)); } catch (error) { print(error.message); }`;
    expect((await programs.run(source, { store })).printed).toEqual(["ENOSPC: no room for full", "EIO: no room for broken"]);
  });
});

describe("keys in the store of the starting process", () => {
  it("come in the form PSA itself writes, both ways", async () => {
    const device = await start("directory");
    const request = Buffer.from(await device.call("makeKey", { commonName: "dev-1" }), "base64");
    await device.call("install", installCommand);
    const keys = join(folder, "directory", "keys");
    // its-directory.c writes 16 bytes of its own before what PSA gave it.
    const files = readdirSync(keys)
      .sort()
      .map((name) => ({ id: parseInt(name, 16), file: new Uint8Array(readFileSync(join(keys, name)).subarray(16)) }));
    expect(files.map(({ id }) => slotOfKeyId(id))).toEqual(["key-a", "psk"]);
    for (const { file } of files) expect(Buffer.from(encodePsaKey(decodePsaKey(file)))).toEqual(Buffer.from(file));
    const [signing, psk] = files.map(({ file }) => decodePsaKey(file));
    expect(signing?.kind === "signing" && createPublicKey(signing.key).export({ type: "spki", format: "der" })).toEqual(
      Buffer.from(new Pkcs10CertificateRequest(request).publicKey.rawData),
    );
    expect(psk).toEqual({ kind: "psk", key: new Uint8Array(PSK) });
  });

  it("are replaced in an order that never leaves a slot without one, and found again by the next program", async () => {
    const store = memoryStore();
    const first = await start("store", store);
    await first.call("makeKey", { commonName: "dev-1" });
    const second = Buffer.from(await first.call("makeKey", { commonName: "dev-1" }), "base64");
    await first.call("install", installCommand);
    expect(store.changes).toEqual(["put key-a/0", "put key-a/1", "delete key-a/0", "put psk/0"]);
    const [kept] = [...store.files].filter(([id]) => slotOfKeyId(id) === "key-a").map(([, file]) => decodePsaKey(file));
    expect(kept?.kind === "signing" && createPublicKey(kept.key).export({ type: "spki", format: "der" })).toEqual(
      Buffer.from(new Pkcs10CertificateRequest(second).publicKey.rawData),
    );
    expect(store.records.list("")).toContain("device");
    first.kill();
    await first.exited;
    const next = await start("store", store);
    await next.call("makeKey", { commonName: "dev-1" });
    expect(store.changes.slice(4)).toEqual(["put key-a/2", "delete key-a/1"]);
    expect(readdirSync(join(folder, "store"))).toEqual(["program"]);
  });

  it("are refused in an unknown form", () => {
    const file = encodePsaKey({ kind: "psk", key: PSK });
    const changed = (at: number, to: number): Uint8Array => file.map((byte, index) => (index === at ? to : byte));
    for (const damage of [file.slice(0, 40), new Uint8Array(50), changed(8, 1), changed(16, 9)]) {
      expect(() => decodePsaKey(damage)).toThrow(expect.objectContaining({ code: "KEY_UNREADABLE" }));
    }
    expect([firstKeyId("psk"), slotOfKeyId(0x48570b), slotOfKeyId(0x48570c), slotOfKeyId(0x485714), slotOfKeyId(1)]).toEqual([
      0x485708,
      "psk",
      "psk-salted",
      undefined,
      undefined,
    ]);
  });
});
