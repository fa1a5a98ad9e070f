/** Makes an NVS partition. */
import { dirname, resolve } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { checkId, recoveryIdentity } from "../../../sdk/identity/device-id.js";
import { IdentityStore } from "../../../sdk/identity/store.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import { deviceItems, readDeviceItems } from "../../images/device-items.js";
import { issueHostMade } from "../../images/host-made-identity.js";
import { parseNvsCsv } from "../../images/nvs-csv.js";
import type { NvsItem } from "../../images/nvs-format.js";
import { readNvsImage } from "../../images/nvs-reader.js";
import { buildNvsImage } from "../../images/nvs-writer.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import { vaultPassphrase } from "../passphrases.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { Json } from "../terminal.js";
import { checkNew, imageKeys, NewFiles, parseSize, readInput } from "./image-files.js";
import type { KeyOptions } from "./image-files.js";
import { finishImage } from "./image-unfinished.js";
import type { UnfinishedImage } from "./image-unfinished.js";

export interface ImageNvsOptions extends PassphraseOptions, KeyOptions {
  out: string;
  size: string;
  dir?: string;
  device?: string;
  role: string;
  replace?: boolean;
  pskOnly?: boolean;
  vault?: string;
  csv?: string;
  plain?: boolean;
  json?: boolean;
}

interface Made {
  readonly device?: { readonly id: string; readonly role: string; readonly serial?: string; readonly notAfterMs?: number };
  readonly entries: number;
  readonly sizeBytes: number;
}

export async function imageNvs(options: ImageNvsOptions, context: Context): Promise<void> {
  checkOptions(options);
  const sizeBytes = parseSize(options.size, "--size");
  const { keys, file } = imageKeys(options);
  if (options.dir === undefined || options.pskOnly === true) checkNew(options.out, file?.path);
  const table = options.csv === undefined ? [] : tableItems(options.csv);
  const files = new NewFiles();
  const write = (device: readonly NvsItem[]): { entries: number; sizeBytes: number } => {
    const items = [...device, ...table];
    const image = buildNvsImage({ sizeBytes, items, ...(keys && { keys }) });
    if (file !== undefined) files.stage(file.path, file.bytes);
    files.stage(options.out, image);
    files.place();
    return { entries: items.length, sizeBytes: image.length };
  };
  let made: Made;
  try {
    made = await make(options, context, write);
  } catch (error) {
    files.discard();
    throw error;
  } finally {
    for (const secret of [keys, file?.bytes]) secret?.fill(0);
  }
  const { id, role, serial, notAfterMs } = made.device ?? {};
  const device: Json = made.device && { id, role, serial, notAfter: notAfterMs === undefined ? undefined : isoTime(notAfterMs) };
  const until = notAfterMs === undefined ? ", to enrol over PSK" : `: certificate ${serial ?? ""}, valid until ${day(notAfterMs)}`;
  context.terminal.result(
    { image: options.out, sizeBytes: made.sizeBytes, encrypted: keys !== undefined, entries: made.entries, keys: file?.path, device },
    [
      `${options.out}: ${made.entries} ${made.entries === 1 ? "key" : "keys"} in ${made.sizeBytes} bytes, ${keys === undefined ? "NOT encrypted" : "encrypted"}.`,
      ...(file === undefined
        ? []
        : [
            `  ${file.path}: ${options.newKeys === undefined ? "HMAC key; burn it into this board's eFuses, then delete it" : "nvs_keys partition of this board"}`,
          ]),
      ...(made.device === undefined ? [] : [`  ${id ?? ""} (${role ?? ""})${until}`]),
    ],
  );
}

function checkOptions({ dir, device, vault, csv, plain, pskOnly, ...keys }: ImageNvsOptions): void {
  const usage = (problem: string, next: string): HawserError => new HawserError("USAGE", problem, next);
  if ((dir === undefined) !== (device === undefined)) throw usage("--dir DIR and --device ID go together", "Give both, or neither.");
  if (dir !== undefined && vault !== undefined) throw usage("--dir and --vault exclude each other", "Choose one.");
  if (pskOnly === true && dir === undefined) throw usage("--psk-only needs --dir and --device", "Give them.");
  if (dir === undefined && vault === undefined && csv === undefined)
    throw usage("nothing to write: --dir and --device, --vault or --csv is required", "Run: hawser image nvs --help.");
  const isEncrypted = [keys.newKeys, keys.keys, keys.newHmacKey, keys.hmacKey].some((path) => path !== undefined);
  if (isEncrypted && plain === true) throw usage("--plain excludes the options for keys", "Choose one.");
  if (!isEncrypted && plain !== true && (dir ?? vault) !== undefined) {
    throw usage(
      "the image will hold secrets and is not encrypted",
      "Use --new-keys FILE or --new-hmac-key FILE; --plain if flash is protected otherwise.",
    );
  }
}

function tableItems(path: string): NvsItem[] {
  return parseNvsCsv(readInput(path).toString("utf8"), (name) => readInput(resolve(dirname(path), name)));
}

type Write = (device: readonly NvsItem[]) => { entries: number; sizeBytes: number };

async function make(options: ImageNvsOptions, context: Context, write: Write): Promise<Made> {
  if (options.vault !== undefined) return fromVault(options.vault, options, context, write);
  if (options.dir === undefined || options.device === undefined) return write([]);
  const id = checkId(options.device);
  const ca = await openCaOf({ ...options, dir: options.dir }, context);
  if (options.pskOnly === true) {
    const role = (await ca.brokerMaterial()).roleOf(id);
    const psk = await ca.pskForAgain(id);
    if (role === undefined || psk === undefined)
      throw new HawserError("UNKNOWN_ID", `${id} is not an active device of this CA`, "Provision it first, or leave out --psk-only.");
    const made = write(
      deviceItems({ id, role, pskIdentity: recoveryIdentity(id), psk, trustAnchors: ca.trustAnchors, topics: await ca.topicsOf(id) }),
    );
    await ca.audit({ event: "image-made", name: id, form: "nvs", secrets: "psk" });
    return { ...made, device: { id, role } };
  }
  const finished = await finishImage(ca, unfinished(options, id));
  if (finished !== undefined) return { ...shownAgain(options), device: { id, role: options.role, ...finished } };
  checkNew(options.out, options.newKeys, options.newHmacKey);
  let made = { entries: 0, sizeBytes: 0 };
  const { role, serial, notAfterMs } = await issueHostMade(
    ca,
    { id, role: options.role, replace: options.replace === true },
    (identity) => {
      made = write(deviceItems(identity));
    },
  );
  return { ...made, device: { id, role, serial, notAfterMs } };
}

function unfinished({ out, role, replace = false, ...keys }: ImageNvsOptions, id: string): UnfinishedImage {
  const paths = [keys.newKeys, keys.newHmacKey, out].filter((path) => path !== undefined);
  return { paths, id, role, replace, serialIn: (whereIs) => serialOfImage(id, whereIs(out), keys, whereIs) };
}

function serialOfImage(
  id: string,
  image: string,
  { newKeys, newHmacKey, ...given }: KeyOptions,
  whereIs: (path: string) => string,
): string | undefined {
  const inFiles = newKeys !== undefined ? { keys: whereIs(newKeys) } : newHmacKey !== undefined ? { hmacKey: whereIs(newHmacKey) } : given;
  const { keys } = imageKeys(inFiles);
  const { items, problems } = readNvsImage(readInput(image), keys);
  const found = problems.length > 0 ? undefined : readDeviceItems(items);
  keys?.fill(0);
  return found?.device.id === id && found.hasKey ? found.serial : undefined;
}

function shownAgain({ out, newKeys, newHmacKey, ...given }: ImageNvsOptions): { entries: number; sizeBytes: number } {
  const { keys } = imageKeys(newKeys !== undefined ? { keys: newKeys } : newHmacKey !== undefined ? { hmacKey: newHmacKey } : given);
  const image = readInput(out);
  const { items } = readNvsImage(image, keys);
  keys?.fill(0);
  return { entries: items.length, sizeBytes: image.length };
}

async function fromVault(path: string, options: ImageNvsOptions, { env }: Context, write: Write): Promise<Made> {
  const vault = await Vault.open(path, await vaultPassphrase({ ...options, vault: path }, env));
  try {
    const { device, active, trustAnchors, salts, base, identityBase } = IdentityStore.load(vault.storage, vault.keyStore);
    if (active === undefined)
      throw new HawserError(
        "NOT_PROVISIONED",
        `the vault ${path} has no certificate`,
        "Let the device enrol first, or provision it again.",
      );
    const hasPsk = device.pskIdentity !== undefined;
    const identity = {
      ...device,
      chain: active.chain,
      privateKey: vault.signingKey(active.keySlot),
      trustAnchors,
      salts,
      topics: { base, identity: identityBase },
      ...(hasPsk && { psk: vault.psk("psk") }),
    };
    const { serial, notAfterMs } = active.certificate;
    return { ...write(deviceItems(identity)), device: { id: device.id, role: device.role, serial, notAfterMs } };
  } finally {
    vault.close();
  }
}
