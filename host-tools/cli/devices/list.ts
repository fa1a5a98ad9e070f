/** Lists what is in the registry. */
import { CaDirectory } from "../../ca-directory/ca-directory.js";
import type { EntryState, NameSummary } from "../../ca-directory/registry-entry.js";
import { listed } from "../../ca-directory/registry.js";
import type { ListedName } from "../../ca-directory/registry.js";
import type { FoundNames, RegistryQuery, SortOrder } from "../../ca-directory/registry-query.js";
import type { CaFiles } from "../../ca-directory/ca-files.js";
import type { RegistryNames } from "../../ca-directory/ca-registry.js";
import type { Reading } from "../../ca-directory/proved-ca.js";
import { find } from "../../ca-directory/registry-query.js";
import { checkCaState, proveNames, readNames } from "../../ca/listed-names.js";
import type { ReadNames } from "../../ca/listed-names.js";
import { errorCode, HawserError } from "../../../sdk/errors.js";
import { attributeChoices } from "./attribute-flags.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import type { PassphraseOptions } from "../passphrases.js";
import { readProvedOrNot } from "../ca-reading.js";
import { table } from "../terminal.js";
import type { Json } from "../terminal.js";

/** Hexadecimal digits. */
const SHORT_SERIAL = 8;

export type ListForm = "table" | "jsonl" | "csv";

export interface ListOptions extends PassphraseOptions {
  dir: string;
  id?: string;
  kind?: "device" | "client";
  state?: EntryState[];
  role?: string[];
  class?: string;
  attribute?: string[];
  lacks?: string[];
  expiresWithin?: number;
  previousIssuer?: boolean;
  sort?: SortOrder;
  limit?: number;
  count?: boolean;
  format?: ListForm;
  json?: boolean;
}

export async function list(options: ListOptions, context: Context): Promise<void> {
  const { terminal } = context;
  if (options.json === true && options.format !== undefined)
    throw new HawserError("USAGE", "--json and --format exclude each other", "Use one of them.");
  // Read before the CA is: a mistake in a flag is told at once.
  const wanted = queryOf(options);
  const { count, states, shown, isAnyThere } = await found(options, wanted, context);
  if (options.count === true) {
    terminal.result({ count, states }, [String(count)]);
    return;
  }
  terminal.result(terminal.json ? shown.map(asJson) : [], terminal.json ? [] : await linesOf(shown, options.format ?? "table", isAnyThere));
  if (shown.length < count) terminal.note(`The first ${shown.length} of ${count}.`);
}

interface Found extends Pick<FoundNames, "count" | "states"> {
  readonly shown: readonly ListedName[];
  readonly isAnyThere: boolean;
}

async function found(options: ListOptions, wanted: RegistryQuery, context: Context): Promise<Found> {
  const directory = new CaDirectory(options.dir);
  const { olderCopy } = checkCaState(directory);
  if (olderCopy !== undefined) context.terminal.warning(olderCopy);
  const read = (reading: Reading): Promise<ReadNames> =>
    readProvedOrNot(options, context, {
      proved: (passphrase) => proveNames(directory, passphrase, reading, { onAway: (problem) => context.terminal.warning(problem) }),
      asItIs: () => readNames(directory, reading),
    });
  if (!isAnsweredByHeads(options)) return findIn(await read("used"), options, wanted);
  const names = await read("heads");
  try {
    return await findIn(names, options, wanted);
  } catch (error) {
    // Details of a name that another process changed since: this time they are read with the heads.
    if (errorCode(error) !== "CA_CORRUPT") throw error;
    return findIn(await read("used"), options, wanted);
  }
}

/** More names than this have their details in most parts of an index. */
const FEW_NAMES = 100;

/** Whether the heads of an index tell which names are wanted, and few are shown. */
function isAnsweredByHeads({ attribute, lacks, expiresWithin, previousIssuer, sort, count, limit = Infinity }: ListOptions): boolean {
  const asksMore = [attribute, lacks, expiresWithin, previousIssuer].some((flag) => flag !== undefined) || sort === "expiry";
  return !asksMore && (count === true || limit <= FEW_NAMES);
}

async function findIn({ files, names }: ReadNames, options: ListOptions, wanted: RegistryQuery): Promise<Found> {
  const limit = options.count === true ? 0 : options.limit;
  const { count, states, first } = find(names.passing(), { ...wanted, ...(await asksCa(options, files, names)) }, limit);
  return { count, states, shown: first.map(listed), isAnyThere: names.entries.size > 0 };
}

function queryOf(options: ListOptions): RegistryQuery {
  const { id, kind, state, role, attribute = [], lacks, expiresWithin, sort } = options;
  return {
    ...(id === undefined ? {} : { id }),
    ...(kind === undefined ? {} : { kind }),
    ...(state === undefined ? {} : { states: state }),
    ...(role === undefined ? {} : { roles: role }),
    attributes: attributeChoices(attribute),
    ...(lacks === undefined ? {} : { lacking: lacks }),
    ...(expiresWithin === undefined ? {} : { endsBeforeMs: Date.now() + expiresWithin }),
    ...(sort === undefined ? {} : { sort }),
  };
}

/** What only the CA can tell of a name: its class by the policy, and whose certificate it has. */
async function asksCa(options: ListOptions, files: CaFiles, names: RegistryNames): Promise<Pick<RegistryQuery, "isWanted">> {
  const { class: className, previousIssuer } = options;
  const hanging = previousIssuer === true ? await hangingOnPrevious(files, names) : undefined;
  const isOfClass = className === undefined ? undefined : await classTest(className, files);
  if (hanging === undefined && isOfClass === undefined) return {};
  return { isWanted: (name) => hanging?.has(name.name) !== false && isOfClass?.(name) !== false };
}

async function hangingOnPrevious(files: CaFiles, names: RegistryNames): Promise<ReadonlySet<string>> {
  const { previousOf } = await import("../../ca/ca-without-passphrase.js");
  return new Set(previousOf(files, names)?.hanging(Date.now()));
}

async function classTest(className: string, files: CaFiles): Promise<(name: NameSummary) => boolean> {
  const [{ parsePolicy }, { roleOf }, { policyTextOf }] = await Promise.all([
    import("../../policy/policy-file.js"),
    import("../../policy/bound-rule.js"),
    import("../../ca/ca-policy.js"),
  ]);
  const policy = parsePolicy(policyTextOf(files), "the policy of the CA");
  const known = [...policy.classes.keys()];
  if (!policy.classes.has(className))
    throw new HawserError(
      "USAGE",
      `the policy has no class ${JSON.stringify(className)}`,
      `Choose one of ${known.join(", ") || "(none)"}.`,
    );
  return ({ kind, role }) => roleOf(policy, { kind, role })?.className === className;
}

async function linesOf(names: readonly ListedName[], form: ListForm, isAnyThere: boolean): Promise<string[]> {
  if (form === "jsonl") return names.map((name) => JSON.stringify(asJson(name)));
  if (form === "csv") return csvLines(names);
  if (names.length === 0) return [isAnyThere ? "No name fits." : "No devices or clients yet."];
  return asTable(names);
}

function asTable(names: readonly ListedName[]): string[] {
  const hasAttributes = names.some(({ attributes }) => attributes !== undefined);
  const row = ({ name, kind, role, state, serial, notAfterMs, attributes = {} }: ListedName): string[] => [
    name,
    kind,
    role,
    state,
    shortSerial(serial),
    notAfterMs === undefined ? "-" : day(notAfterMs),
    ...(hasAttributes
      ? [
          Object.entries(attributes)
            .map(([key, value]) => `${key}=${value}`)
            .join(" ") || "-",
        ]
      : []),
  ];
  return table([["ID", "KIND", "ROLE", "STATE", "SERIAL", "EXPIRES", ...(hasAttributes ? ["ATTRIBUTES"] : [])], ...names.map(row)]);
}

/** A column for each attribute there is. */
async function csvLines(names: readonly ListedName[]): Promise<string[]> {
  const { formulaSafe, writeCsv } = await import("../../exports/csv-writer.js");
  const keys = [...new Set(names.flatMap(({ attributes = {} }) => Object.keys(attributes)))].sort();
  const rows = names.map(({ name, kind, role, state, serial = "", notBeforeMs, notAfterMs, attributes = {} }) => [
    name,
    kind,
    role,
    state,
    serial,
    notBeforeMs === undefined ? "" : isoTime(notBeforeMs),
    notAfterMs === undefined ? "" : isoTime(notAfterMs),
    ...keys.map((key) => formulaSafe(attributes[key] ?? "")),
  ]);
  return writeCsv([["id", "kind", "role", "state", "serial", "notBefore", "notAfter", ...keys], ...rows])
    .split("\n")
    .slice(0, -1);
}

/** Enough to tell a fleet's certificates apart, and short enough for a row of 80 columns; `--json` has it in full. */
function shortSerial(serial: string | undefined): string {
  if (serial === undefined) return "-";
  return serial.length > SHORT_SERIAL ? `${serial.slice(0, SHORT_SERIAL)}..` : serial;
}

function asJson({ name, kind, role, state, attributes, serial, notAfterMs, certificates }: ListedName): Json {
  return {
    id: name,
    kind,
    role,
    state,
    attributes,
    serial,
    notAfter: notAfterMs === undefined ? undefined : isoTime(notAfterMs),
    certificates: certificates.map((certificate) => ({
      serial: certificate.serial,
      status: certificate.status,
      notBefore: isoTime(certificate.notBeforeMs),
      notAfter: isoTime(certificate.notAfterMs),
      reason: certificate.reason,
      revokedAt: certificate.revokedAtMs === undefined ? undefined : isoTime(certificate.revokedAtMs),
    })),
  };
}
