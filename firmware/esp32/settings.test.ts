import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const HERE = dirname(fileURLToPath(import.meta.url));
const read = (name: string): string => readFileSync(join(HERE, name), "utf8");

const FLASH_SIZE = 4 * 1024 * 1024;
const TABLE_SIZE = 0x1000;
const APP_ALIGNMENT = 0x10000;

interface Partition {
  name: string;
  type: string;
  subType: string;
  offset: string;
  size: number;
  flags: string;
}

function partitions(): Partition[] {
  const rows = read("partitions.csv")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  return rows.map((row) => {
    const [name = "", type = "", subType = "", offset = "", size = "", flags = ""] = row.split(",").map((cell) => cell.trim());
    return { name, type, subType, offset, size: Number(size), flags };
  });
}

function settings(name: string): Map<string, string> {
  const lines = read(name)
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const found = new Map<string, string>();
  for (const line of lines) {
    const [, key = "", value = ""] = /^(CONFIG_[A-Z0-9_]+)=(y|n|0x[0-9a-f]+|\d+|"[^"]*")$/.exec(line) ?? [];
    expect(key, line).not.toBe("");
    expect(found.has(key), `${key} twice`).toBe(false);
    found.set(key, value);
  }
  return found;
}

describe("partitions.csv", () => {
  it.each([0x8000, 0x10000])("fits 4 MB of flash with the table at 0x%s, apps aligned", (tableOffset) => {
    let at = tableOffset + TABLE_SIZE;
    for (const { type, size } of partitions()) {
      const alignment = type === "app" ? APP_ALIGNMENT : 0x1000;
      at = Math.ceil(at / alignment) * alignment;
      expect(size % alignment).toBe(0);
      at += size;
    }
    expect(at).toBeLessThanOrEqual(FLASH_SIZE);
  });

  it("keeps the keys of NVS in encrypted flash, and nvs itself not: NVS encrypts its own", () => {
    const byName = new Map(partitions().map((partition) => [partition.name, partition]));
    expect(byName.get("nvs_keys")).toMatchObject({ type: "data", subType: "nvs_keys", size: 0x1000, flags: "encrypted" });
    expect(byName.get("nvs")).toMatchObject({ subType: "nvs", flags: "" });
  });

  it("has two images of the same size and the record of which one starts, for updates", () => {
    const images = partitions().filter(({ type }) => type === "app");
    expect(images.map(({ subType }) => subType)).toEqual(["ota_0", "ota_1"]);
    expect(new Set(images.map(({ size }) => size)).size).toBe(1);
    expect(partitions().find(({ subType }) => subType === "ota")?.size).toBe(0x2000);
  });
});

describe("the settings for ESP-IDF", () => {
  it("check certificates' dates, know PSK and TLS 1.3, make requests, and validate images: Moddable's defaults do none of it", () => {
    const found = settings("sdkconfig.defaults");
    for (const name of ["HAVE_TIME_DATE", "PSK_MODES", "KEY_EXCHANGE_ECDHE_PSK", "SSL_PROTO_TLS1_3", "X509_CREATE_C", "X509_CSR_WRITE_C"]) {
      expect(found.get(`CONFIG_MBEDTLS_${name}`), name).toBe("y");
    }
    expect(found.get("CONFIG_BOOTLOADER_SKIP_VALIDATE_ALWAYS")).toBe("n");
  });

  it("go back to the image before unless a broker accepted the new one, in any build", () => {
    expect(settings("sdkconfig.defaults").get("CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE")).toBe("y");
    expect(settings("sdkconfig.production").get("CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE")).not.toBe("n");
  });

  it("print no memory to the serial line when something crashes, in any build", () => {
    for (const name of ["sdkconfig.defaults", "sdkconfig.production"]) {
      const found = settings(name);
      expect([found.get("CONFIG_ESP_COREDUMP_ENABLE_TO_UART"), found.get("CONFIG_ESP_COREDUMP_ENABLE_TO_NONE")], name).toEqual(["n", "y"]);
    }
  });

  it("burn no fuse unless they were copied on purpose", () => {
    const found = settings("sdkconfig.defaults");
    expect([...found.keys()].filter((name) => /SECURE_|NVS_ENCRYPTION/.test(name))).toEqual([]);
    expect(read("sdkconfig.production").split("\n")[0]).toContain("burns fuses");
  });

  it("for products turn on secure boot 2, flash encryption and NVS encryption", () => {
    const found = settings("sdkconfig.production");
    for (const name of [
      "SECURE_BOOT",
      "SECURE_BOOT_V2_ENABLED",
      "SECURE_FLASH_ENC_ENABLED",
      "SECURE_FLASH_ENCRYPTION_MODE_RELEASE",
      "NVS_ENCRYPTION",
    ]) {
      expect(found.get(`CONFIG_${name}`), name).toBe("y");
    }
  });

  it("are each explained in docs/firmware.md", () => {
    const text = readFileSync(join(HERE, "..", "..", "docs", "firmware.md"), "utf8");
    const names = [...settings("sdkconfig.defaults").keys(), ...settings("sdkconfig.production").keys()].map((name) =>
      name.slice("CONFIG_".length),
    );
    expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });
});
