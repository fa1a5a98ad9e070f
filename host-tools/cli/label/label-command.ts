/** `hawser label`. */
import { Option } from "commander";
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addLabelCommands(program: Command, run: Run): void {
  const label = program.command("label").description("Make labels with QR codes for devices, and check scanned ones.");
  addMake(label, run);
  addCheck(label, run);
}

function addMake(label: Command, run: Run): void {
  const make = caDirectory(label.command("make").description("Make a device's label as SVG, PNG, PDF or ZPL, or print it."))
    .requiredOption("--device <id>", "device of this CA")
    .addOption(new Option("--kind <kind>", "what the code says").choices(["id", "secret", "gs1", "esp", "matter"]).default("id"))
    .addOption(new Option("--format <format>", "form of the label").choices(["svg", "png", "pdf", "zpl"]).default("svg"))
    .option("--out <file>", "file to create; must not exist", parsePath)
    .option("--printer <host[:port]>", "send ZPL to this printer (port 9100)")
    .option("--text <line>", "line beside the code; repeatable (default: the id, and Matter's digits)", collect)
    .option("--size <mm>", "width and height", "50x25")
    .option("--dpi <dpi>", "printer's resolution: 203, 300 or 600", "300")
    .option("--secret-file <file>", "file with the secret (26 characters of A-Z2-7), or Matter's passcode", parsePath)
    .option("--new-secret <file>", "draw a 128-bit secret, and create this file with it", parsePath)
    .option("--gtin <digits>", "gs1: GTIN with check digit")
    .option("--domain <host>", "gs1: host that resolves the link", "id.gs1.org")
    .option("--serial <text>", "gs1: serial number, up to 20 characters (default: the id)")
    .option("--lot <text>", "gs1: lot")
    .option("--service-name <name>", "esp: BLE service or access point (default: PROV_ and the id)")
    .addOption(new Option("--transport <transport>", "esp: how the app connects").choices(["ble", "softap"]).default("ble"))
    .option("--vendor-id <number>", "matter: vendor id, e.g. 0xfff1")
    .option("--product-id <number>", "matter: product id")
    .option("--discriminator <number>", "matter: 0 to 4095");
  json(caPassphrase(make));
  addHelp(make, {
    notes: [
      "Kinds: id: the id alone. secret: id:SECRET, 128 bits. gs1: GS1 Digital Link. esp: payload of Espressif's provisioning apps. matter: onboarding code.",
      "Every label is on the CA's audit trail with the hash of its code, and later ones as reprints. The secret is kept nowhere but on the label and in the file you name.",
      "Text with ^, ~ or control characters is refused: printers take them as commands.",
    ],
    json: ['{"device":"sensor-1","kind":"secret","format":"svg","out":"sensor-1.svg","payloadSha256":"1f..","copy":1}'],
    examples: [
      "hawser label make --dir ca --device sensor-1 --out sensor-1.svg",
      "hawser label make --dir ca --device sensor-1 --kind secret --format zpl --printer 10.0.0.5",
      "hawser label make --dir ca --device sensor-1 --kind gs1 --gtin 09521234543213 --format pdf --out sensor-1.pdf",
    ],
    exits: [3, 4, 5, 6],
  });
  make.action(run(async () => (await import("./label-make.js")).labelMake));
}

function addCheck(label: Command, run: Run): void {
  const check = caDirectory(label.command("check").description("Say whether a scanned code is the current label of a device."))
    .option("--scan-file <file>", "file with what was scanned (default: first line of standard input)", parsePath)
    .option("--device <id>", "fail unless it is this device's");
  json(check);
  addHelp(check, {
    notes: [
      "Reads standard input, because a code may hold a secret. Ends with 6 (LABEL_WRONG) for any other label.",
      "Reads the audit trail as it stands; hawser ca verify proves it.",
    ],
    json: ['{"verdict":"current","device":"sensor-1","kind":"id","madeAt":"...","copy":1}'],
    examples: ["echo sensor-1 | hawser label check --dir ca --device sensor-1"],
    exits: [6],
  });
  check.action(run(async () => (await import("./label-check.js")).labelCheck));
}
