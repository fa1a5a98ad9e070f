/** `policy set`: role and attributes of a name. */
import { HawserError } from "../../../sdk/errors.js";
import { readAttribute } from "../devices/attribute-flags.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface SetOptions extends PassphraseOptions {
  dir: string;
  id: string;
  attribute?: string[];
  role?: string;
  defaultRights?: boolean;
  json?: boolean;
}

export async function set(options: SetOptions, context: Context): Promise<void> {
  const { id, attribute = [], role, defaultRights: allowsDefaultRights = false } = options;
  if (attribute.length === 0 && role === undefined)
    throw new HawserError("USAGE", "nothing to change", "Give --attribute NAME=VALUE or --role ROLE.");
  const attributes = Object.fromEntries(attribute.map(readAttribute).map(([name, value]) => [name, value === "" ? undefined : value]));
  const ca = await openCaOf(options, context);
  const name = await ca.setName({ id, attributes, allowsDefaultRights, ...(role === undefined ? {} : { role }) });
  const shown = Object.entries(name.attributes ?? {}).map(([key, value]) => `${key}=${value}`);
  context.terminal.result({ id, role: name.role, attributes: name.attributes ?? {} }, [
    `${id} is ${name.role}${shown.length === 0 ? "" : `, ${shown.join(", ")}`}`,
  ]);
}
