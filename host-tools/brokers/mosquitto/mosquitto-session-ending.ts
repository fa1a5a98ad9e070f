/**
 * Ends live sessions of a running mosquitto. On a reload mosquitto refuses new connections of a revoked certificate but keeps those it has.
 * Its dynamic-security plugin ends every session of a user name, whatever the client ids, when a client of that name is created and deleted
 * there; the names have no other meaning in the plugin.
 */
import { randomBytes } from "node:crypto";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import { CONTROL_LIMIT_MS, ControlConnection } from "./mosquitto-control-connection.js";
import type { ControlCredentials } from "./mosquitto-control-connection.js";
import type { MosquittoSettings } from "./mosquitto-config.js";
import { CONTROL_TOPICS } from "./mosquitto-acl.js";
import { addressOf } from "./mosquitto-reload.js";

/** Where a broker is reached. */
export type ControlAddress = Pick<MosquittoSettings, "mtlsPort" | "backendPort" | "reach" | "bind">;

function controlPort({ mtlsPort, backendPort }: ControlAddress): number {
  return backendPort ?? mtlsPort;
}

const COMMANDS = CONTROL_TOPICS.replace("#", "v1");
const ANSWERS = `${COMMANDS}/response`;
/** In one message, which has to fit into mosquitto's largest packet. */
const NAMES_A_MESSAGE = 400;

/**
 * Ends all sessions of these user names. When this resolves the broker has closed their connections. To be called after the broker loaded
 * what refuses them, or they come straight back.
 *
 * @param credentials of {@link CONTROL_NAME}
 * @throws HawserError `SESSIONS_NOT_ENDED`
 */
export async function endSessions(settings: ControlAddress, credentials: ControlCredentials, userNames: readonly string[]): Promise<void> {
  const target = { host: addressOf(settings), port: controlPort(settings), clientId: `hawser-${randomBytes(8).toString("hex")}` };
  let connection: ControlConnection | undefined;
  try {
    connection = await ControlConnection.open(target, credentials);
    await connection.subscribe(ANSWERS);
    for (let from = 0; from < userNames.length; from += NAMES_A_MESSAGE)
      await end(connection, settings, userNames.slice(from, from + NAMES_A_MESSAGE));
  } catch (error) {
    throw error instanceof HawserError ? error : notEnded(settings, errorMessage(error), RETRY);
  } finally {
    await connection?.close();
  }
}

async function end(connection: ControlConnection, settings: ControlAddress, userNames: readonly string[]): Promise<void> {
  const correlationData = randomBytes(8).toString("hex");
  const commands = userNames.flatMap((username) => [
    { command: "createClient", username, correlationData },
    { command: "deleteClient", username, correlationData },
  ]);
  const text = await connection.request(COMMANDS, JSON.stringify({ commands }), correlationData);
  if (text === undefined) throw notEnded(settings, `the plugin did not answer within ${CONTROL_LIMIT_MS} ms`, RESTART);
  const problem = problemIn(text, userNames.length);
  if (problem !== undefined) throw notEnded(settings, problem, RESTART);
}

/** A name that exists already (left by a command that was cut off) is no problem: what counts is that it was deleted. */
function problemIn(text: string, names: number): string | undefined {
  try {
    const { responses } = JSON.parse(text) as { responses: { command?: string; error?: string }[] };
    const deleted = responses.filter(({ command }) => command === "deleteClient");
    const error = deleted.find((response) => response.error !== undefined)?.error;
    return error ?? (deleted.length === names ? undefined : "the plugin did not answer every command");
  } catch {
    return "the plugin's answer cannot be read";
  }
}

const RETRY = "Fix that, then run: hawser broker sync --dir CA";
const RESTART = "Restart the broker if it was started before this version of its configuration, then run: hawser broker sync --dir CA";

function notEnded(settings: ControlAddress, why: string, next: string): HawserError {
  return new HawserError(
    "SESSIONS_NOT_ENDED",
    `live sessions at the broker on ${addressOf(settings)}:${controlPort(settings)} could not be ended: ${why}`,
    next,
  );
}
