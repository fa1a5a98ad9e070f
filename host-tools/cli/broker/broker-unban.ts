/** `broker unban`: lets a name in again at an EMQX where `revoke --emqx` has banned it. */
import { HawserError } from "../../../sdk/errors.js";
import { recoveryIdentity } from "../../../sdk/identity/device-id.js";
import type { Context } from "../command-runner.js";
import { emqxApi } from "../emqx-login.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface UnbanOptions extends PassphraseOptions {
  dir: string;
  id: string;
  emqx: string;
  emqxKey: string;
  emqxCa?: string;
  json?: boolean;
}

export async function unban(options: UnbanOptions, context: Context): Promise<void> {
  const { id, emqx } = options;
  const api = emqxApi(options);
  const ca = await openCaOf(options, context);
  const entry = (await ca.list()).find(({ name }) => name === id);
  if (entry === undefined) throw new HawserError("UNKNOWN_ID", `this CA has no name ${id}`, "Check the name: hawser list --dir CA");
  if (entry.state === "revoked")
    throw new HawserError(
      "DEVICE_REVOKED",
      `${id} is revoked: it must stay out`,
      "Give it a new identity first: hawser provision --replace, or hawser issue --replace for a client.",
    );
  // First on the trail: whoever is let in was let in by somebody.
  await ca.audit({ event: "unbanned", id, broker: emqx });
  const lifted: string[] = [];
  for (const user of [id, recoveryIdentity(id)]) if (await api.unban(user)) lifted.push(user);
  context.terminal.result({ id, broker: emqx, unbanned: lifted }, [
    lifted.length === 0 ? `${id} was not banned at ${emqx}.` : `${id} may connect to ${emqx} again.`,
  ]);
}
