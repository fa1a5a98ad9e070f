/** `hawser image`. */
import { Option } from "commander";
import type { Command } from "commander";
import type { ImageInspectOptions } from "./image-inspect.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caPassphrase, json, parsePath, vaultPassphrase } from "../shared-options.js";

export function addImageCommands(program: Command, run: Run): void {
  const image = program.command("image").description("Make and inspect flash images for ESP32: NVS, nvs_keys, esp_secure_cert.");
  addNvs(image, run);
  addSecureCert(image, run);
  addInspect(image, run);
  addPlan(image, run);
}

/** Whom the image is for, where it is not made from a table alone. */
function device(command: Command): Command {
  return command
    .option("--dir <dir>", "CA directory: issue an identity for --device, with a key made here", parsePath)
    .option("--device <id>", "with --dir: device id")
    .option("--role <role>", "with --dir: device role", "sensor")
    .option("--replace", "with --dir: revoke the device's old certificates");
}

function addNvs(image: Command, run: Run): void {
  const nvs = device(image.command("nvs").description("Make an NVS partition: a device's identity, a table of keys, or both."))
    .requiredOption("--out <file>", "image to create; must not exist", parsePath)
    .option("--size <bytes>", "size of the partition: 0x10000, 64K", "0x10000")
    .option("--psk-only", "with --dir: no key and no certificate; the device makes its key and enrols over PSK")
    .option("--vault <path>", "take the identity of a vault", parsePath)
    .option("--csv <file>", "table of Espressif's NVS generator (key,type,encoding,value)", parsePath)
    .option("--new-keys <file>", "encrypt, and create this nvs_keys partition", parsePath)
    .option("--keys <file>", "encrypt with the keys of this nvs_keys partition", parsePath)
    .option("--new-hmac-key <file>", "encrypt by the HMAC scheme, and create this key for the chip's eFuses", parsePath)
    .option("--hmac-key <file>", "encrypt by the HMAC scheme with this key (32 bytes)", parsePath)
    .option("--plain", "do not encrypt an image that holds a private key or PSK");
  json(vaultPassphrase(caPassphrase(nvs)));
  addHelp(nvs, {
    notes: [
      "The key is made in memory and written inside the image only. All files have mode 0600.",
      "Byte for byte what Espressif's generator makes of the same table, except for its extra Wi-Fi entries (sta.*, ap.*).",
      "Below 0x3000 a partition is read-only, and the image ends with its last used page.",
    ],
    json: [
      '{"image":"nvs.bin","sizeBytes":65536,"encrypted":true,"entries":6,"keys":"nvs_keys.bin","device":{"id":"sensor-1","role":"sensor","serial":"4f..","notAfter":"..."}}',
    ],
    examples: [
      "hawser image nvs --dir ca --device sensor-1 --out nvs.bin --new-keys nvs_keys.bin",
      "hawser image nvs --dir ca --device sensor-1 --psk-only --out nvs.bin --new-keys nvs_keys.bin",
      "hawser image nvs --vault sensor-1.vault --out nvs.bin --hmac-key board-7.key",
      "hawser image nvs --csv factory.csv --size 0x6000 --out nvs.bin",
    ],
    exits: [3, 5, 6],
  });
  nvs.action(run(async () => (await import("./image-nvs.js")).imageNvs));
}

function addSecureCert(image: Command, run: Run): void {
  const secureCert = device(image.command("secure-cert").description("Make an esp_secure_cert partition (TLV)."))
    .requiredOption("--out <file>", "image to create; must not exist", parsePath)
    .option("--size <bytes>", "size of the partition", "0x2000")
    .option("--csv <file>", "table of Espressif's esp_secure_cert tool", parsePath)
    .option("--cert <file>", "device certificate or chain, PEM or DER", parsePath)
    .option("--ca <file>", "CA certificate, PEM or DER", parsePath)
    .option("--key <file>", "private key, PEM or DER, not encrypted: stored as it is, or for the DS peripheral with --efuse-key", parsePath)
    .option(
      "--hmac-key <file>",
      "key in the chip's eFuses (32 bytes): the private key is derived from it, or encrypted for the DS peripheral",
      parsePath,
    )
    .option("--new-hmac-key <file>", "with --dir: create that key", parsePath)
    .option("--efuse-key <block>", "eFuse key block, 0 to 5, for the DS peripheral")
    .addOption(new Option("--chip <chip>", "chip, for the DS peripheral").default("esp32c3"))
    .option("--plain", "with --dir: store the private key in the image as it is")
    .option("--no-integrity", "leave out the entry with the SHA-256 of the others");
  json(caPassphrase(secureCert));
  addHelp(secureCert, {
    notes: [
      "With --dir and an HMAC key, the image holds a salt instead of the private key: the chip derives it from the key in its eFuses.",
      "Unlike Espressif's tool, all certificates of a chain are stored, and no private key goes beside the ECDSA peripheral.",
      "Burning eFuses is left to espefuse: see hawser image plan.",
    ],
    json: [
      '{"image":"sc.bin","sizeBytes":1344,"entries":[{"type":"device-certificate","subtype":0,"bytes":1201}],"device":{"id":"sensor-1",..}}',
    ],
    examples: [
      "hawser image secure-cert --dir ca --device sensor-1 --new-hmac-key board-7.key --out sc.bin",
      "hawser image secure-cert --cert device.pem --ca ca.pem --key device.key --out sc.bin",
      "hawser image secure-cert --cert device.pem --key rsa.key --hmac-key hmac.bin --efuse-key 1 --chip esp32s3 --out sc.bin",
    ],
    exits: [3, 5, 6],
  });
  secureCert.action(run(async () => (await import("./image-secure-cert.js")).imageSecureCert));
}

function addInspect(image: Command, run: Run): void {
  const inspect = image
    .command("inspect")
    .description("Show what is in an image, and name the bytes that are damaged.")
    .argument("<image>", "NVS, nvs_keys or esp_secure_cert partition: an image, or a dump of a device's flash", parsePath)
    .option("--keys <file>", "nvs_keys partition of an encrypted NVS image", parsePath)
    .option("--hmac-key <file>", "key of the HMAC scheme", parsePath)
    .option("--values", "show values, secrets among them");
  json(inspect);
  addHelp(inspect, {
    notes: ["Ends with 6 (IMAGE_DAMAGED) when something is wrong; what is sound is shown all the same."],
    json: [
      '{"kind":"nvs","pages":[..],"entries":[{"namespace":"hawser","key":"device","type":"blob","bytes":63}],"device":{"id":"sensor-1",..},"problems":[{"offset":419,"problem":".."}]}',
    ],
    examples: ["hawser image inspect nvs.bin --keys nvs_keys.bin", "hawser image inspect sc.bin --json"],
    exits: [6],
  });
  inspect.action((file: string, options: Omit<ImageInspectOptions, "image">) =>
    run<ImageInspectOptions>(async () => (await import("./image-inspect.js")).imageInspect)({ ...options, image: file }),
  );
}

function addPlan(image: Command, run: Run): void {
  const plan = image
    .command("plan")
    .description("Print what to flash where: offsets, files, and the commands of esptool.")
    .requiredOption("--partitions <file>", "partition table, CSV", parsePath)
    .requiredOption("--file <partition=file>", "image of a partition; repeatable", collect)
    .option("--chip <chip>", "chip as esptool names it", "esp32")
    .option("--table-offset <offset>", "offset of the partition table in flash", "0x8000")
    .option("--port <port>", "serial port in the commands", "PORT")
    .addOption(
      new Option("--flash-encryption <mode>", "what the chip's fuses say").choices(["off", "development", "release"]).default("off"),
    )
    .option("--hmac-key <file>", "key to burn into an eFuse block", parsePath)
    .option("--efuse-key <block>", "with --hmac-key: eFuse key block, 0 to 5")
    .option("--ds", "with --hmac-key: the key is for the DS peripheral, not for deriving keys");
  json(plan);
  addHelp(plan, {
    notes: ["Hawser runs none of these commands. Offsets that the table leaves out are computed as ESP-IDF does."],
    json: ['{"chip":"esp32","writes":[{"partition":"nvs","offset":36864,"file":"nvs.bin",..}],"commands":[["esptool",..]],"notes":[]}'],
    examples: ["hawser image plan --partitions firmware/esp32/partitions.csv --file nvs=nvs.bin --file nvs_keys=nvs_keys.bin"],
    exits: [6],
  });
  plan.action(run(async () => (await import("./image-plan.js")).imagePlan));
}
