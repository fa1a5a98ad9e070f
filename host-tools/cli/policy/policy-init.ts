/** Writes the built-in policy as a file. */
import { writeFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { DEFAULT_POLICY_TEXT } from "../../policy/default-policy.js";
import { POLICY_SCHEMA } from "../../policy/policy-schema.js";
import type { Context } from "../command-runner.js";

export interface InitPolicyOptions {
  out: string;
  schema?: string;
  json?: boolean;
}

export async function initPolicy({ out, schema }: InitPolicyOptions, { terminal }: Context): Promise<void> {
  writeNew(out, DEFAULT_POLICY_TEXT);
  if (schema !== undefined) writeNew(schema, `${JSON.stringify(POLICY_SCHEMA, null, 2)}\n`);
  terminal.result({ policy: out, schema }, [`${out}: edit it, then run: hawser policy check --policy ${out}`]);
}

function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new HawserError("OUT_EXISTS", `${file} exists`, "Choose another name, or remove it.");
  }
}
