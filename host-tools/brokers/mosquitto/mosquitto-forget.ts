/** Removes what mosquitto keeps for a name: its subscriptions and the messages that wait for it. */
import type { ConnectionOptions } from "node:tls";
import type { IClientOptions } from "mqtt";
import { HawserError } from "../../../sdk/errors.js";
import type { MosquittoSettings } from "./mosquitto-config.js";
import { addressOf } from "./mosquitto-reload.js";
import type { ControlCredentials } from "./mosquitto-sessions.js";

const LIMIT_MS = 10_000;

/**
 * Connects as the name for a moment, which is its client id on this listener, and asks for no session ([MQTT-3.1.2-6]). The name has no
 * rights by then.
 *
 * @param credentials of the name, in no registry
 * @throws HawserError `SESSIONS_NOT_ENDED`
 */
export async function forgetSession(settings: MosquittoSettings, name: string, credentials: ControlCredentials): Promise<void> {
  const { connect } = (await import("mqtt")).default;
  const options: IClientOptions & Pick<ConnectionOptions, "checkServerIdentity"> = {
    protocol: "mqtts",
    host: addressOf(settings),
    port: settings.mtlsPort,
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.trustAnchorPem,
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined,
    protocolVersion: 4,
    clientId: name,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: LIMIT_MS,
  };
  const client = connect(options);
  const problem = await new Promise<string | undefined>((resolve) => {
    client.once("connect", () => resolve(undefined));
    client.on("error", (error) => resolve(error.message));
    client.once("close", () => resolve("the broker closed the connection"));
  });
  await new Promise<void>((resolve) => client.end(problem !== undefined, {}, () => resolve()));
  if (problem === undefined) return;
  throw new HawserError(
    "SESSIONS_NOT_ENDED",
    `messages queued for ${name} at the broker on ${addressOf(settings)}:${settings.mtlsPort} could not be removed: ${problem}`,
    "Run: hawser broker sync --dir CA",
  );
}
