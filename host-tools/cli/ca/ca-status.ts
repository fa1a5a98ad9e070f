/** Shows what of a CA expires when; ends with 1 when something needs attention. */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { DIRECTORIES } from "../../ca-directory/directory-layout.js";
import { statusOf } from "../../ca/expiry.js";
import type { Expiry } from "../../ca/expiry.js";
import { AUTHORITY_NAME } from "../../ca/reserved-names.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { EXIT } from "../exit-codes.js";
import { PART_NAMES, readCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { table } from "../terminal.js";
import type { Json } from "../terminal.js";

export interface CaStatusOptions extends PassphraseOptions {
  dir: string;
  json?: boolean;
}

/** So many names, those that end first. */
const FIRST_NAMES = 5;

export async function showStatus(options: CaStatusOptions, context: Context): Promise<void> {
  const view = await readCaOf(options, context);
  const { parts, names, isWell } = statusOf(view, Date.now());
  const late = names.filter(({ state }) => state !== "ok").length;
  const shown = names.slice(0, FIRST_NAMES);
  const hanging = view.previous?.hanging(Date.now());
  const rollover = hanging === undefined ? undefined : { count: hanging.length, first: hanging.slice(0, FIRST_NAMES) };
  const [root, previousRoot] = view.trustAnchors.map((der) => new X509Certificate(der).serialNumber.toLowerCase());
  // Under whom a name's certificate is, and so which root its brokers need.
  const anchors = [
    { root, names: names.length - (previousRoot === undefined ? 0 : (hanging?.length ?? 0)) },
    ...(previousRoot === undefined ? [] : [{ root: previousRoot, names: hanging?.length ?? 0 }]),
  ];
  const result = {
    dir: options.dir,
    ok: isWell,
    verified: view.isProved,
    parts: parts.map(asJson),
    names: { count: names.length, late, first: shown.map(asJson) },
    rollover,
    anchors,
    policy: { ...view.certificatePolicy },
    rootFolderHere: view.isRootStillHere,
  };
  context.terminal.result(result, [
    ...table([["WHAT", "ENDS", "STATE"], ...parts.map(asRow), ...shown.map(asRow)]),
    ...(rollover === undefined
      ? []
      : [
          `Rollover: ${rollover.count} names still have a certificate of the old issuing CA${rollover.count === 0 ? "; retire it with hawser ca rollover --retire" : `: ${rollover.first.join(", ")}`}.`,
        ]),
    ...(previousRoot === undefined ? [] : [`Roots: ${anchors[0]?.names} names under the new one, ${anchors[1]?.names} under the old one.`]),
    ...(view.isRootStillHere ? [`The offline root is still in ${join(options.dir, DIRECTORIES.offlineRoot)}: move it to a safe.`] : []),
    `${names.length} names with a certificate${late === 0 ? "" : `, ${late} of them not renewed in time`}. ${isWell ? "All is well." : "Something needs attention."}`,
  ]);
  if (!isWell) process.exitCode = EXIT.failed;
}

function asRow({ what, name, notAfterMs, state }: Expiry): string[] {
  return [name === undefined || name === AUTHORITY_NAME ? PART_NAMES[what] : `${what} ${name}`, day(notAfterMs), state];
}

function asJson({ what, name, notAfterMs, state }: Expiry): Json {
  return { what, name, notAfter: isoTime(notAfterMs), daysLeft: Math.floor((notAfterMs - Date.now()) / 86_400_000), state };
}
