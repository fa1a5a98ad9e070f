/** `hawser image`: from a CA to a flash image and back, and nothing of the key left anywhere else. */
import { createPrivateKey } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { TEST_SCRYPT_COST } from "../../../sim/node/vault/sealed.js";
import { initCa } from "../../ca/ca-creation.js";
import { readDeviceItems } from "../../images/device-items.js";
import { readNvsKeysPartition } from "../../images/nvs-keys.js";
import { readNvsImage } from "../../images/nvs-reader.js";
import { buildCli, hawser, temporaryDirectory, treeState } from "../../../test/support/host-tools/test-cli.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { GOLDEN_FILES } from "../../../test/support/host-tools/secure-cert-golden.js";

const env = { HAWSER_PASSPHRASE: "correct horse battery staple" };
beforeAll(buildCli);

async function bench(): Promise<{ cwd: string; run: (...args: string[]) => ReturnType<typeof hawser> }> {
  const cwd = temporaryDirectory();
  mkdirSync(join(cwd, "tmp"));
  const run = (...args: string[]): ReturnType<typeof hawser> => hawser(args, { cwd, env: { ...env, TMPDIR: join(cwd, "tmp") } });
  await initCa(join(cwd, "ca"), { name: "Test", passphrase: env.HAWSER_PASSPHRASE, scryptCost: TEST_SCRYPT_COST });
  return { cwd, run };
}

/** For the process of the command: it is killed at the moment when the file that LAST names has its name. */
const KILL_AFTER_LINK = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const { linkSync } = fs;
fs.linkSync = (from, to) => {
  linkSync(from, to);
  if (to === process.env.LAST) process.kill(process.pid, "SIGKILL");
};
syncBuiltinESMExports();
`;

/** Every file below a folder that holds one of these byte strings. */
function holding(folder: string, needles: readonly Buffer[]): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(folder, name)).isFile());
  return files.filter((name) => needles.some((needle) => readFileSync(join(folder, name)).includes(needle)));
}

describe("hawser image", () => {
  test("injects a key made on the host, and leaves no trace of it outside the encrypted image", async () => {
    const { cwd, run } = await bench();
    const made = await run("image", "nvs", "--dir", "ca", "--device", "sensor-1", "--out", "nvs.bin", "--new-keys", "keys.bin", "--json");
    expect(JSON.parse(made.stdout)).toMatchObject({
      sizeBytes: 0x10000,
      encrypted: true,
      keys: "keys.bin",
      device: { id: "sensor-1", role: "sensor" },
    });
    for (const file of ["nvs.bin", "keys.bin"]) expect(statSync(join(cwd, file)).mode & 0o777).toBe(0o600);

    const found = readDeviceItems(
      readNvsImage(readFileSync(join(cwd, "nvs.bin")), readNvsKeysPartition(readFileSync(join(cwd, "keys.bin")))).items,
    );
    const [key, psk] = [found?.keys.get("key-a"), found?.keys.get("psk")];
    if (key?.kind !== "signing" || psk?.kind !== "psk") throw new Error("the image has no keys");
    const { d = "" } = key.key.export({ format: "jwk" });
    const scalar = Buffer.from(d, "base64url");
    const pem = String(key.key.export({ format: "pem", type: "pkcs8" })).split("\n")[1] ?? "";
    const needles = [
      scalar,
      Buffer.from(psk.key),
      ...[scalar.toString("hex"), d, scalar.toString("base64"), pem].map((text) => Buffer.from(text)),
    ];
    expect(holding(cwd, needles)).toEqual([]);
    // The search would find it.
    writeFileSync(join(cwd, "tmp", "found"), Buffer.concat([Buffer.alloc(9), scalar]));
    expect(holding(cwd, needles)).toEqual(["tmp/found"]);

    const shown = await run("image", "inspect", "nvs.bin", "--keys", "keys.bin", "--json");
    expect(JSON.parse(shown.stdout)).toMatchObject({ kind: "nvs", problems: [], device: { id: "sensor-1", key: true, psk: true } });
    expect(shown.stdout).not.toContain(scalar.toString("hex"));
    expect(JSON.parse((await run("list", "--dir", "ca", "--json")).stdout)).toMatchObject([
      { id: "sensor-1", state: "active", serial: found?.serial },
    ]);
  });

  test("takes an identity back that could not be written, and names what is damaged in an image", async () => {
    const { cwd, run } = await bench();
    const before = treeState(cwd);
    const full = await run("image", "nvs", "--dir", "ca", "--device", "sensor-1", "--out", "none/nvs.bin", "--new-keys", "keys.bin");
    expect([full.code, full.stderr.split(":")[0]]).toEqual([6, "error STORAGE_FAILED"]);
    expect(Object.keys(treeState(cwd)).filter((name) => !(name in before) && !name.startsWith("ca/"))).toEqual([]);
    expect((await run("list", "--dir", "ca", "--json")).stdout).not.toContain('"active"');

    for (const [args, line] of [
      [["--dir", "ca", "--device", "sensor-1", "--out", "x.bin"], /^error USAGE: the image will hold secrets/],
      [["--dir", "ca", "--out", "x.bin"], /^error USAGE: --dir DIR and --device ID/],
      [["--out", "x.bin"], /^error USAGE: nothing to write/],
    ] as const) {
      const { code, stderr } = await run("image", "nvs", ...args);
      expect([code, stderr]).toEqual([2, expect.stringMatching(line)]);
    }
    writeFileSync(join(cwd, "t.csv"), "key,type,encoding,value\nfactory,namespace,,\nserial,data,string,A-7\n");
    expect((await run("image", "nvs", "--csv", "t.csv", "--size", "0x3000", "--out", "t.bin")).code).toBe(0);
    expect((await run("image", "nvs", "--csv", "t.csv", "--size", "0x3000", "--out", "t.bin")).code).toBe(5);
    symlinkSync(join(cwd, "elsewhere.bin"), join(cwd, "link.bin"));
    expect((await run("image", "nvs", "--csv", "t.csv", "--out", "link.bin")).stderr).toMatch(/^error OUT_EXISTS/);
    expect([lstatSync(join(cwd, "link.bin")).isSymbolicLink(), existsSync(join(cwd, "elsewhere.bin"))]).toEqual([true, false]);
    expect((await run("image", "inspect", "tmp")).stderr).toMatch(/^error NOT_FOUND: tmp is a directory/);
    expect((await run("image", "inspect", "t.bin", "--values")).stdout).toMatch(/factory +serial +string +A-7/);
    const image = readFileSync(join(cwd, "t.bin"));
    image[0x81] = 0x58;
    writeFileSync(join(cwd, "t.bin"), image);
    const damaged = await run("image", "inspect", "t.bin", "--json");
    expect([damaged.code, JSON.parse(damaged.stdout)]).toMatchObject([6, { problems: [{ offset: 0x81 }] }]);
    expect(damaged.stderr).toContain("IMAGE_DAMAGED");
  });

  test("writes where the policy has the device's topics, into a vault as into each image", async () => {
    const { cwd, run } = await bench();
    const moved = DEFAULT_POLICY_TEXT.replace("base: devices/{id}", "base: sites/{site}/{id}")
      .replace("\nclasses:\n", "\nattributes:\n  site: { values: [b1] }\n\nclasses:\n")
      .replace(/topic: identity\/(\w+)/g, 'topic: "fleet/{id}/$1"\n        absolute: true')
      .replace("devices/hawser-authority/identity/request", "fleet/hawser-authority/request");
    writeFileSync(join(cwd, "p.yaml"), moved);
    expect((await run("policy", "apply", "p.yaml", "--dir", "ca")).stderr).toBe("");
    const there = (id: string): object => ({ base: `sites/b1/${id}`, identityBase: `fleet/${id}` });
    const inspected = async (file: string): Promise<{ device: object; entries: { type: string; value: string }[] }> =>
      JSON.parse((await run("image", "inspect", file, "--values", "--json")).stdout) as never;
    const provisioned = await run("provision", "--dir", "ca", "--id", "dev1", "--vault", "dev1.vault", "--attribute", "site=b1");
    expect([provisioned.code, provisioned.stderr]).toEqual([0, ""]);
    await run("image", "nvs", "--vault", "dev1.vault", "--plain", "--out", "vault.bin");
    expect((await inspected("vault.bin")).device).toMatchObject(there("dev1"));
    await run("image", "nvs", "--dir", "ca", "--device", "dev1", "--psk-only", "--plain", "--out", "psk.bin");
    expect((await inspected("psk.bin")).device).toMatchObject(there("dev1"));
    await run("image", "nvs", "--dir", "ca", "--device", "dev1", "--replace", "--plain", "--out", "made.bin");
    expect((await inspected("made.bin")).device).toMatchObject(there("dev1"));
    await run("image", "secure-cert", "--dir", "ca", "--device", "dev1", "--replace", "--plain", "--out", "sc.bin");
    const user = (await inspected("sc.bin")).entries.find(({ type }) => type === "user-1");
    expect(JSON.parse(Buffer.from(user?.value ?? "", "hex").toString())).toEqual({ v: 1, base: "sites/b1/dev1", identity: "fleet/dev1" });
  });

  test("makes esp_secure_cert images whose key the chip derives, and plans the flashing", async () => {
    const { cwd, run } = await bench();
    const made = await run("image", "secure-cert", "--dir", "ca", "--device", "sensor-2", "--new-hmac-key", "hmac.key", "--out", "sc.bin");
    expect([made.code, made.stderr]).toEqual([0, ""]);
    expect(JSON.parse((await run("image", "inspect", "sc.bin", "--json")).stdout)).toMatchObject({
      problems: [],
      entries: [
        { type: "ca-certificate" },
        { type: "device-certificate" },
        { type: "ecdsa-salt" },
        { type: "private-key", flags: "hmac-derived-ecdsa", bytes: 0 },
        { type: "integrity" },
      ],
    });
    for (const name of ["g.crt", "g.key"]) writeFileSync(join(cwd, name), GOLDEN_FILES[name] ?? "", { mode: 0o600 });
    expect(createPrivateKey(GOLDEN_FILES["g.key"] ?? "").asymmetricKeyType).toBe("ec");
    expect((await run("image", "secure-cert", "--cert", "g.crt", "--key", "g.key", "--out", "plain.bin")).code).toBe(0);
    appendFileSync(join(cwd, "plain.bin"), "x");
    expect((await run("image", "inspect", "plain.bin")).code).toBe(6);

    writeFileSync(join(cwd, "partitions.csv"), "nvs,data,nvs,,0x10000,\nsc,0x3f,,,0x2000,encrypted\nota_0,app,ota_0,,1M,\n");
    const { stdout } = await run(
      "image",
      "plan",
      "--partitions",
      "partitions.csv",
      "--file",
      "sc=sc.bin",
      "--flash-encryption",
      "development",
      "--hmac-key",
      "hmac.key",
      "--efuse-key",
      "2",
      "--chip",
      "esp32c3",
      "--json",
    );
    const { writes, commands } = JSON.parse(stdout) as { writes: unknown[]; commands: string[][] };
    expect(writes).toMatchObject([{ partition: "sc", offset: 0x19000, encrypted: true }]);
    expect(commands.map((words) => words.slice(-4))).toEqual([
      ["burn-key", "BLOCK_KEY2", "hmac.key", "HMAC_UP"],
      ["460800", "erase-region", "0x19000", "0x2000"],
      ["write-flash", "--encrypt", "0x19000", "sc.bin"],
    ]);
    expect((await run("image", "plan", "--partitions", "partitions.csv", "--file", "nope=sc.bin")).stderr).toMatch(
      /^error BAD_IMAGE: .*no partition "nope".* nvs, sc, ota_0/,
    );
    expect(existsSync(join(cwd, "nvs.bin"))).toBe(false);
  });

  test.each([
    ["nvs", "keys.bin", ["--new-keys", "keys.bin"]],
    ["nvs", "made.bin", ["--new-keys", "keys.bin"]],
    ["nvs", "made.bin", ["--new-hmac-key", "keys.bin"]],
    ["nvs", "made.bin", ["--plain"]],
    ["secure-cert", "keys.bin", ["--new-hmac-key", "keys.bin"]],
    ["secure-cert", "made.bin", ["--plain"]],
  ])(
    "image %s, killed once %s is there, is finished by the same command",
    async (form, last, keys) => {
      const { cwd, run } = await bench();
      const args = ["image", form, "--dir", "ca", "--device", "sensor-1", "--out", "made.bin", ...keys];
      const killed = await hawser(args, {
        cwd,
        env: { ...env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(KILL_AFTER_LINK)}`, LAST: last },
      });
      expect([killed.signal, existsSync(join(cwd, last))]).toEqual(["SIGKILL", true]);
      const state = async (): Promise<unknown> => JSON.parse((await run("list", "--dir", "ca", "--json")).stdout);
      const [before] = (await state()) as { certificates: { serial: string }[] }[];
      expect(before).toMatchObject({ state: "reserved", certificates: [{ status: "active" }] });
      // Not by a command that means another device or another identity.
      if (last === "made.bin") expect((await run(...args, "--role", "meter")).stderr).toMatch(/^error OUT_EXISTS/);
      const finished = await run(...args, "--json");
      expect([finished.code, finished.stderr]).toEqual([0, ""]);
      const { serial } = (JSON.parse(finished.stdout) as { device: { serial: string } }).device;
      expect(serial).toBe(before?.certificates[0]?.serial);
      expect(await state()).toMatchObject([{ id: "sensor-1", state: "active", certificates: [{ serial, status: "active" }] }]);
      expect(readdirSync(cwd).filter((name) => name.endsWith("~"))).toEqual([]);
      expect(await run(...args, "--json")).toEqual(finished);
      expect((await run(...args, "--replace")).stderr).toMatch(/^error OUT_EXISTS/);
    },
    120_000,
  );

  test("takes no key, token or secret out of a file that every user of the machine can read", async () => {
    const { cwd, run } = await bench();
    writeFileSync(join(cwd, "secret"), "a".repeat(32), { mode: 0o644 });
    chmodSync(join(cwd, "secret"), 0o644);
    writeFileSync(join(cwd, "t.csv"), "key,type,encoding,value\nfactory,namespace,,\nserial,data,string,A-7\n");
    for (const args of [
      ["image", "nvs", "--csv", "t.csv", "--out", "x.bin", "--keys", "secret"],
      ["image", "nvs", "--csv", "t.csv", "--out", "x.bin", "--hmac-key", "secret"],
      ["image", "inspect", "t.csv", "--keys", "secret"],
      ["image", "secure-cert", "--dir", "ca", "--device", "sensor-1", "--hmac-key", "secret", "--out", "x.bin"],
      ["label", "make", "--dir", "ca", "--device", "sensor-1", "--kind", "secret", "--secret-file", "secret", "--out", "x.svg"],
      ["station", "run", "--dir", "ca", "--operator", "a", "--ids", "m-{n}", "--simulated", "1", "--page-token-file", "secret"],
    ]) {
      const { code, stderr } = await run(...args);
      expect([code, stderr], args.join(" ")).toEqual([
        3,
        "error PASSPHRASE_FILE_EXPOSED: secret is readable by all users. Next: Run: chmod 600 secret.\n",
      ]);
    }
    expect((await run("list", "--dir", "ca", "--json")).stdout).toBe("[]\n");
  });
});
