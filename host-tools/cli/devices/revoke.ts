/** Shuts a device or client out. */
import { X509Certificate } from "node:crypto";
import { HawserError } from "../../../sdk/errors.js";
import { recoveryIdentity } from "../../../sdk/identity/device-id.js";
import { readRegularFile } from "../../../sim/node/files/safe-path.js";
import { shutOutAtEmqx } from "../../brokers/emqx/emqx-session-ending.js";
import { endRabbitmqSessions } from "../../brokers/rabbitmq/rabbitmq-session-ending.js";
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import { outputsElsewhere } from "../../ca/broker-folder-binding.js";
import { RevocationUnproved } from "../../ca/revocation-outcome.js";
import type { RevokeOutcome } from "../../ca/revocation-outcome.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { Context } from "../command-runner.js";
import { emqxApi } from "../emqx-login.js";
import type { EmqxLogin } from "../emqx-login.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { managementApi } from "../rabbitmq-login.js";
import type { Json } from "../terminal.js";
import { BROKER_PROBLEMS, brokerLines, brokersJson } from "../broker/broker-results.js";

export interface RevokeOptions extends PassphraseOptions, EmqxLogin {
  dir: string;
  id?: string;
  serial?: string;
  certificate?: string;
  reason: string;
  rabbitmq?: string;
  rabbitmqLogin?: string;
  rabbitmqCa?: string;
  certificateOnly?: boolean;
  json?: boolean;
}

export async function revoke(options: RevokeOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const serial = checkOptions(options);
  const elsewhere = armsOf(options);
  const ca = await openCaOf(options, context, BROKER_PROBLEMS);
  const name = options.id ?? (await holderOf(ca, serial ?? ""));
  const { outcome, problem } = await revokeWith(ca, { ...options, id: name });
  const { id, state, reason, serials, brokers } = outcome;
  const { left, others } = outputsElsewhere(new CaDirectory(options.dir));
  for (const stray of left) terminal.warning(stray);
  const reached = await Promise.all(elsewhere.map((arm) => reach(arm, id, state === "revoked")));
  const unproved = problem ?? reached.find((arm) => arm.problem !== undefined)?.problem;
  const json = Object.fromEntries(reached.map((arm) => [arm.key, arm.json]));
  terminal.result({ id, state, reason, revoked: serials, brokers: brokersJson(brokers), ...json }, [
    state === "revoked"
      ? `${id} is ${unproved === undefined ? "shut out" : "revoked"} (${reason}).`
      : `The certificates of ${id} are revoked (${reason}); it may recover with its pre-shared key.`,
    ...serials.map((serial) => `  revoked ${serial}`),
    ...brokerLines(brokers),
    ...(others === 0 ? [] : [`Brokers of other machines (${others}) follow when those machines take this in: see hawser registry follow.`]),
    ...reached.map(({ line }) => line),
  ]);
  if (unproved !== undefined) throw unproved;
}

/** @returns the serial that was given by itself or with a certificate, without an id */
function checkOptions(options: RevokeOptions): string | undefined {
  const { id, serial, certificate, rabbitmq, rabbitmqLogin, rabbitmqCa, emqx, emqxKey, emqxCa } = options;
  const next = "Run: hawser revoke --help";
  if ([id, serial, certificate].filter((given) => given !== undefined).length !== 1)
    throw new HawserError("USAGE", "give one of --id, --serial and --certificate", next);
  for (const [pair, url, login, ca] of [
    ["--rabbitmq and --rabbitmq-login", rabbitmq, rabbitmqLogin, rabbitmqCa],
    ["--emqx and --emqx-key", emqx, emqxKey, emqxCa],
  ])
    if ((url === undefined) !== (login === undefined) || (url === undefined && ca !== undefined))
      throw new HawserError("USAGE", `${pair} go together`, next);
  if (certificate !== undefined) return serialOf(certificate);
  if (serial === undefined) return undefined;
  const digits = serial
    .replaceAll(":", "")
    .toLowerCase()
    .replace(/^0+(?=.)/, "");
  if (!/^[0-9a-f]{1,40}$/.test(digits))
    throw new HawserError("USAGE", `invalid serial number ${JSON.stringify(serial)}`, "Use hex digits.");
  return digits;
}

const MOST_CERTIFICATE_BYTES = 1024 * 1024;

function serialOf(file: string): string {
  const { bytes } = readRegularFile(file, MOST_CERTIFICATE_BYTES);
  try {
    return new X509Certificate(bytes).serialNumber.toLowerCase().replace(/^0+(?=.)/, "");
  } catch {
    throw new HawserError("BAD_CERTIFICATE", `${file} holds no certificate`, "Name a PEM or DER file.");
  }
}

/** Serials are random: the name that has this one, also where another certificate has taken its place. */
async function holderOf(ca: CertificateAuthority, serial: string): Promise<string> {
  const holder = (await ca.list()).find(({ certificates }) => certificates.some((one) => one.serial === serial));
  if (holder !== undefined) return holder.name;
  throw new HawserError(
    "UNKNOWN_ID",
    `no name of this CA has a certificate with the serial number ${serial}`,
    "Check the serial number, and that the certificate is of this CA.",
  );
}

/** A broker that is told by its own API. */
interface Arm {
  /** In the JSON of the result. */
  readonly key: string;
  readonly title: string;
  /** What it is asked to end. */
  readonly unit: "connection" | "session";
  readonly url: string;
  /** @returns how many sessions were ended. Throws a HawserError for what is not proved. */
  shutOut(users: readonly string[], isForGood: boolean): Promise<number>;
}

const REASON = "revoked by hawser";

/** Throws before anything is revoked where a file or an address is not usable. */
function armsOf(options: RevokeOptions): Arm[] {
  const { rabbitmq, rabbitmqLogin = "", rabbitmqCa, emqx } = options;
  const arms: Arm[] = [];
  if (rabbitmq !== undefined) {
    const api = managementApi(rabbitmq, rabbitmqLogin, rabbitmqCa);
    const shutOut = (users: readonly string[]): Promise<number> => endRabbitmqSessions(api, users, REASON);
    arms.push({ key: "rabbitmq", title: "RabbitMQ", unit: "connection", url: rabbitmq, shutOut });
  }
  if (emqx !== undefined) {
    const api = emqxApi(options);
    const shutOut = (users: readonly string[], isForGood: boolean): Promise<number> =>
      shutOutAtEmqx(api, { users, banned: isForGood ? users : [], reason: REASON });
    arms.push({ key: "emqx", title: "EMQX", unit: "session", url: emqx, shutOut });
  }
  return arms;
}

interface Reached {
  readonly key: string;
  readonly json: Json;
  readonly line: string;
  readonly problem?: HawserError;
}

/** With its pre-shared key a device that is to recover must still get in. */
async function reach({ key, title, unit, url, shutOut }: Arm, id: string, isShutOut: boolean): Promise<Reached> {
  const users = isShutOut ? [id, recoveryIdentity(id)] : [id];
  try {
    const ended = await shutOut(users, isShutOut);
    return { key, json: { api: url, ended, proved: true }, line: `  ${title} at ${url}: no ${unit} is left (${ended} ended)` };
  } catch (error) {
    if (!(error instanceof HawserError)) throw error;
    const problem = { code: error.code, message: error.message };
    return { key, json: { api: url, proved: false, problem }, line: `  ${title} at ${url}: NOT PROVED: ${error.message}`, problem: error };
  }
}

/** What could not be proved is told after what was. */
async function revokeWith(
  ca: CertificateAuthority,
  options: RevokeOptions & { readonly id: string },
): Promise<{ outcome: RevokeOutcome; problem?: RevocationUnproved }> {
  try {
    return { outcome: await ca.revoke({ id: options.id, reason: options.reason, certificateOnly: options.certificateOnly === true }) };
  } catch (error) {
    if (error instanceof RevocationUnproved) return { outcome: error.outcome, problem: error };
    throw error;
  }
}
