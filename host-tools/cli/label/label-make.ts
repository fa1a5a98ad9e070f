/** Makes a device's label, and puts that on the audit trail first. */
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { layOut } from "../../labels/layout.js";
import { LABEL_EVENT, labelsOf } from "../../labels/label-log.js";
import { matterCodes } from "../../labels/matter.js";
import { badLabel, espProvisioning, gs1DigitalLink, idPayload, newLabelSecret, sha256Hex } from "../../labels/payloads.js";
import { printRaw, readPrinterAddress } from "../../labels/printer.js";
import { renderLabel } from "../../labels/render.js";
import type { LabelForm } from "../../labels/render.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { readSecretLine } from "../secret-files.js";
import { checkNew, NewFiles } from "../image/image-files.js";

export interface LabelMakeOptions extends PassphraseOptions {
  dir: string;
  device: string;
  kind: "id" | "secret" | "gs1" | "esp" | "matter";
  format: LabelForm;
  out?: string;
  printer?: string;
  text?: string[];
  size: string;
  dpi: string;
  secretFile?: string;
  newSecret?: string;
  gtin?: string;
  domain: string;
  serial?: string;
  lot?: string;
  serviceName?: string;
  transport: "ble" | "softap";
  vendorId?: string;
  productId?: string;
  discriminator?: string;
  json?: boolean;
}

interface Code {
  readonly payload: string;
  readonly lines: readonly string[];
}

export async function labelMake(options: LabelMakeOptions, context: Context): Promise<void> {
  const { device: id, kind, format, out, dir } = options;
  checkId(id);
  const printer = checkOptions(options);
  checkNew(out, options.newSecret);
  const secret = secretOf(options);
  const code = codeOf(options, secret);
  const { widthMm, heightMm } = sizeOf(options.size);
  const layout = layOut({ payload: code.payload, lines: options.text ?? code.lines, widthMm, heightMm, dpi: Number(options.dpi) });
  const data = renderLabel(layout, format);
  const ca = await openCaOf(options, context);
  const listed = (await ca.list()).find(({ name }) => name === id);
  if (listed?.kind !== "device" || listed.state !== "active")
    throw new HawserError("UNKNOWN_ID", `${id} is not an active device of this CA`, "Run `hawser list` for the known names.");
  const before = labelsOf(dir).filter((label) => label.id === id).length;
  const payloadSha256 = sha256Hex(code.payload);
  const files = new NewFiles();
  try {
    if (options.newSecret !== undefined && secret !== undefined) files.write(options.newSecret, Buffer.from(`${secret}\n`));
    // A file that is left from a kill before the next line was never seen by anyone; a label without its line in the trail would be.
    if (out !== undefined) files.write(out, data);
    await ca.audit({
      event: LABEL_EVENT,
      name: id,
      kind,
      format,
      payloadSha256,
      copy: before + 1,
      to: printer === undefined ? "file" : "printer",
    });
  } catch (error) {
    files.discard();
    throw error;
  }
  if (printer !== undefined) await printRaw(data, printer);
  const copy = before === 0 ? "first label" : `label number ${before + 1}; the earlier ones are in the audit trail`;
  context.terminal.result(
    { device: id, kind, format, out, printer: options.printer, secretFile: options.newSecret, payloadSha256, copy: before + 1 },
    [
      `${out ?? options.printer ?? ""}: ${kind} label of ${id}, ${copy}.`,
      ...(options.newSecret === undefined ? [] : [`  ${options.newSecret}: its secret`]),
    ],
  );
}

function checkOptions({
  out,
  printer,
  format,
  kind,
  secretFile,
  newSecret,
  vendorId,
  productId,
  discriminator,
  gtin,
}: LabelMakeOptions): { host: string; port: number } | undefined {
  const usage = (problem: string, next: string): HawserError => new HawserError("USAGE", problem, next);
  if ((out === undefined) === (printer === undefined))
    throw usage("--out FILE or --printer HOST is required, not both", "Run: hawser label make --help.");
  if (secretFile !== undefined && newSecret !== undefined) throw usage("--secret-file and --new-secret exclude each other", "Choose one.");
  if ((secretFile ?? newSecret) !== undefined && (kind === "id" || kind === "gs1"))
    throw usage(`a label of the kind ${kind} holds no secret`, "Use --kind secret.");
  if (kind === "matter" && secretFile === undefined)
    throw usage("Matter's passcode is the one the device knows", "Give it with --secret-file FILE.");
  if (kind === "matter" && [vendorId, productId, discriminator].includes(undefined))
    throw usage("matter needs --vendor-id, --product-id and --discriminator", "Give all three.");
  if (kind === "gs1" && gtin === undefined) throw usage("gs1 needs --gtin DIGITS", "Give the product's GTIN.");
  if (kind === "esp" && (secretFile ?? newSecret) === undefined)
    throw usage("the device has to know the secret on the label as well", "Use --new-secret FILE or --secret-file FILE.");
  if (printer === undefined) return undefined;
  if (format !== "zpl") throw usage("--printer takes ZPL", "Add --format zpl.");
  return readPrinterAddress(printer);
}

function secretOf({ kind, secretFile, newSecret }: LabelMakeOptions): string | undefined {
  if (secretFile !== undefined) return readSecretLine(secretFile).trim();
  return newSecret !== undefined || kind === "secret" ? newLabelSecret() : undefined;
}

function codeOf(options: LabelMakeOptions, secret: string | undefined): Code {
  const { device: id } = options;
  switch (options.kind) {
    case "id":
      return { payload: id, lines: [id] };
    case "secret":
      return { payload: idPayload(id, secret), lines: [id] };
    case "gs1": {
      const { gtin = "", domain, serial = id, lot } = options;
      return {
        payload: gs1DigitalLink({ gtin, domain, serial, ...(lot !== undefined && { lot }) }),
        lines: [`(01) ${gtin}`, `(21) ${serial}`],
      };
    }
    case "esp":
      return {
        payload: espProvisioning({ name: options.serviceName ?? `PROV_${id}`, pop: secret ?? "", transport: options.transport }),
        lines: [id],
      };
    case "matter": {
      const request = {
        vendorId: number(options.vendorId),
        productId: number(options.productId),
        discriminator: number(options.discriminator),
        passcode: number(secret),
      };
      const { qr, manual } = matterCodes(request);
      return { payload: qr, lines: [id, `${manual.slice(0, 4)}-${manual.slice(4, 7)}-${manual.slice(7)}`] };
    }
  }
}

function number(text: string | undefined): number {
  if (/^(0x[0-9a-f]{1,4}|\d{1,8})$/i.test(text ?? "")) return Number(text);
  throw badLabel("a number of Matter's is neither decimal nor hexadecimal", "Use 65521 or 0xfff1; the passcode has up to 8 digits.");
}

function sizeOf(text: string): { widthMm: number; heightMm: number } {
  const match = /^(\d{1,3}(?:\.\d+)?)x(\d{1,3}(?:\.\d+)?)$/.exec(text);
  if (match === null) throw badLabel(`invalid size ${JSON.stringify(text)}`, "Use WIDTHxHEIGHT in millimetres, e.g. 50x25.");
  return { widthMm: Number(match[1]), heightMm: Number(match[2]) };
}
