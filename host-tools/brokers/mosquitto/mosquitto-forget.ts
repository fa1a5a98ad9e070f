/** Removes what mosquitto keeps for a name: its subscriptions and the messages that wait for it. */
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { ControlConnection } from "./mosquitto-control-connection.js";
import type { ControlCredentials } from "./mosquitto-control-connection.js";
import type { MosquittoSettings } from "./mosquitto-config.js";
import { addressOf } from "./mosquitto-reload.js";

/**
 * Connects as the name for a moment, which is its client id on this listener, and asks for no session ([MQTT-3.1.2-6]). The name has no
 * rights by then.
 *
 * @param credentials of the name, in no registry
 * @throws HawserError `SESSIONS_NOT_ENDED`
 */
export async function forgetSession(settings: MosquittoSettings, name: string, credentials: ControlCredentials): Promise<void> {
  const target = { host: addressOf(settings), port: settings.mtlsPort, clientId: name };
  try {
    await (await ControlConnection.open(target, credentials)).close();
  } catch (error) {
    throw new HawserError(
      "SESSIONS_NOT_ENDED",
      `messages queued for ${name} at the broker on ${target.host}:${target.port} could not be removed: ${errorMessage(error)}`,
      "Run: hawser broker sync --dir CA",
    );
  }
}
