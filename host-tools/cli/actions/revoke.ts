/** Shuts a device or client out. */
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface RevokeOptions extends PassphraseOptions {
  dir: string;
  id: string;
  reason: string;
  certificateOnly?: boolean;
  json?: boolean;
}

export async function revoke(options: RevokeOptions, context: Context): Promise<void> {
  const { terminal } = context;
  const ca = await openCaOf(options, context);
  const { id, state, reason, serials, disconnections } = await ca.revoke({ id: options.id, reason: options.reason, certificateOnly: options.certificateOnly === true });
  const result = { id, state, reason, revoked: serials, disconnected: disconnections.map(({ directory, problem }) => ({ broker: directory, problem })) };
  terminal.result(result, [
    state === "revoked" ? `${id} is shut out (${reason}).` : `The certificates of ${id} are revoked (${reason}); it may recover with its pre-shared key.`,
    ...serials.map((serial) => `  revoked ${serial}`),
    ...disconnections.map(({ directory, problem }) => (problem === undefined ? `  disconnected from the broker in ${directory}` : `  still connected to the broker in ${directory}: ${problem}`)),
  ]);
}
