/** The demo's place; the story itself is still to be written here. */
import { HawserError } from "../../../sdk/errors.js";
import type { Context } from "../command-runner.js";

export interface DemoOptions {
  engine: "embedded" | "mosquitto";
  json?: boolean;
}

export async function runDemo(_options: DemoOptions, _context: Context): Promise<void> {
  throw new HawserError("NOT_BUILT", "the demo is not part of this build", "Use a released version.");
}
