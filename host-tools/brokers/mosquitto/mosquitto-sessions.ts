/**
 * Ends live sessions of a running mosquitto. On a reload mosquitto refuses new connections of a revoked certificate but keeps those it has.
 * Its dynamic-security plugin ends every session of a user name, whatever the client ids, when a client of that name is created and deleted
 * there; the names have no other meaning in the plugin.
 */
import { randomBytes } from "node:crypto";
import type { ConnectionOptions } from "node:tls";
import type { IClientOptions, MqttClient } from "mqtt";
import { errorMessage, HawserError } from "../../../sdk/errors.js";
import type { MosquittoSettings } from "./mosquitto-config.js";
import { CONTROL_TOPICS } from "./mosquitto-acl.js";
import { addressOf } from "./mosquitto-reload.js";

export interface ControlCredentials {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly trustAnchorPem: string;
}

/** Where a broker is reached. */
export type ControlAddress = Pick<MosquittoSettings, "mtlsPort" | "backendPort" | "reach" | "bind">;

function controlPort({ mtlsPort, backendPort }: ControlAddress): number {
  return backendPort ?? mtlsPort;
}

const COMMANDS = CONTROL_TOPICS.replace("#", "v1");
const ANSWERS = `${COMMANDS}/response`;
const LIMIT_MS = 10_000;
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
  const client = await connect(settings, credentials);
  try {
    await client.subscribeAsync(ANSWERS, { qos: 1 });
    for (let from = 0; from < userNames.length; from += NAMES_A_MESSAGE)
      await end(client, settings, userNames.slice(from, from + NAMES_A_MESSAGE));
  } catch (error) {
    throw error instanceof HawserError ? error : notEnded(settings, errorMessage(error), RETRY);
  } finally {
    await new Promise<void>((resolve) => client.end(true, {}, () => resolve()));
  }
}

async function connect(settings: ControlAddress, credentials: ControlCredentials): Promise<MqttClient> {
  // Loaded here: the package is large, and few runs need it.
  const mqtt = (await import("mqtt")).default;
  // MQTT.js hands what it does not know on to tls.connect.
  const options: IClientOptions & Pick<ConnectionOptions, "checkServerIdentity"> = {
    protocol: "mqtts",
    host: addressOf(settings),
    port: controlPort(settings),
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.trustAnchorPem,
    rejectUnauthorized: true,
    // The address we use need not be one of the names in the certificate. OpenSSL has checked that it is for servers: only our brokers have
    // such a one.
    checkServerIdentity: () => undefined,
    protocolVersion: 4,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: LIMIT_MS,
  };
  const client = mqtt.connect(options);
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      client.end(true);
      reject(notEnded(settings, why, RETRY));
    };
    client.once("connect", () => resolve(client));
    client.on("error", (error) => fail(error.message));
    client.once("close", () => fail("the broker closed the connection"));
  });
}

async function end(client: MqttClient, settings: ControlAddress, userNames: readonly string[]): Promise<void> {
  const correlationData = randomBytes(8).toString("hex");
  const commands = userNames.flatMap((username) => [
    { command: "createClient", username, correlationData },
    { command: "deleteClient", username, correlationData },
  ]);
  const answer = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(notEnded(settings, `the plugin did not answer within ${LIMIT_MS} ms`, RESTART)), LIMIT_MS);
    const settle = (then: () => void): void => {
      clearTimeout(timer);
      then();
    };
    client.once("close", () => settle(() => reject(notEnded(settings, "the broker closed the connection", RETRY))));
    client.on("message", (_topic, payload) => {
      if (payload.includes(correlationData)) settle(() => resolve(payload.toString("utf8")));
    });
  });
  const published = client.publishAsync(COMMANDS, JSON.stringify({ commands }), { qos: 1 });
  const [text] = await Promise.all([answer, published]);
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
