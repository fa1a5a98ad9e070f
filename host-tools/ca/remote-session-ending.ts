/** Ends sessions at a mosquitto that no configuration of the CA directory names: one that runs with what `hawser policy compile` wrote. */
import { HawserError } from "../../sdk/errors.js";
import { CONTROL_NAME, pskIdentities } from "../brokers/mosquitto/mosquitto-acl.js";
import { checkMosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import { endSessions } from "../brokers/mosquitto/mosquitto-session-ending.js";
import { unknownId } from "../ca-directory/registry.js";
import { passingCredentials } from "./clients.js";
import type { CaContext } from "./context.js";

const CREDENTIALS_LIFETIME_MS = 5 * 60_000;

export interface RemoteSessions {
  readonly names: readonly string[];
  /** Host and port of the broker's listener for certificates. */
  readonly host: string;
  readonly port: number;
}

/**
 * Ends every session of these names, whatever the client ids, on every listener of the broker.
 *
 * @throws HawserError `UNKNOWN_ID`, `BAD_HOST`, `BAD_PORT`, `SESSIONS_NOT_ENDED`
 */
export async function endRemoteSessions({ store, keys }: CaContext, { names, host, port }: RemoteSessions): Promise<void> {
  const pskPort = port === 1 ? 2 : 1;
  checkMosquittoSettings({ mtlsPort: port, pskPort, reach: host });
  await store.change(async (draft) => {
    for (const name of names) if (!draft.entries.has(name)) throw unknownId(name);
    try {
      await endSessions(
        { mtlsPort: port, reach: host },
        await passingCredentials(keys, CONTROL_NAME, draft.nowMs, CREDENTIALS_LIFETIME_MS),
        names.flatMap(pskIdentities),
      );
    } catch (error) {
      if (!(error instanceof HawserError) || error.code !== "SESSIONS_NOT_ENDED") throw error;
      throw new HawserError(
        error.code,
        error.message,
        "Check that the broker runs with the compiled configuration and its plugin (restart it once after the plugin was added), then run the command again.",
      );
    }
    draft.record({ event: "sessions-ended", ended: names.map((name) => `${name} at ${host}:${port}`), owed: [] });
  });
}
