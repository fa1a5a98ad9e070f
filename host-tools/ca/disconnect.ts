/**
 * Cuts a live connection to mosquitto. On a reload mosquitto refuses new connections of a revoked certificate but keeps those it has; what it does obey is
 * MQTT's takeover: a second connection with the same client id ends the first ([MQTT-3.1.4-3]). So for a moment we are that client. A device's
 * client id is its name (the SDK knows no other); a client that called itself otherwise keeps its connection, but the ACL leaves it nothing to do.
 */
import type { ConnectionOptions } from "node:tls";
import type { IClientOptions } from "mqtt";
import { passingCredentials } from "./clients.js";
import type { ClientCredentials } from "./clients.js";
import type { CaContext } from "./context.js";
import type { MosquittoSettings } from "../brokers/mosquitto/mosquitto-config.js";
import { localAddress } from "../brokers/mosquitto/mosquitto-reload.js";
import { runningMosquitto } from "../brokers/mosquitto/mosquitto-process.js";
import { readOutputs } from "../ca-directory/outputs-file.js";

/** Loopback: the broker is there or it is not. */
const TAKEOVER_LIMIT_MS = 10_000;

const CREDENTIALS_LIFETIME_MS = 5 * 60_000;

/** What became of a name's connection to one running broker. */
export interface Disconnection {
  /** Of the broker's configuration. */
  readonly directory: string;
  /** Absent when the name has no connection there any more. */
  readonly problem?: string;
}

/**
 * Ends the connections of `name` to every mosquitto that runs on this machine with a configuration of this CA.
 *
 * @param keepSession leave the name's subscriptions and queued messages for when it returns
 */
export async function disconnectEverywhere(ca: CaContext, name: string, keepSession: boolean): Promise<Disconnection[]> {
  const running = readOutputs(ca.store.files).filter((output) => runningMosquitto(output.directory) !== undefined);
  const disconnections: Disconnection[] = [];
  for (const { directory, settings } of running) {
    const credentials = await passingCredentials(ca.keys, name, Date.now(), CREDENTIALS_LIFETIME_MS);
    const problem = keepSession ? await cutKeepingSession(settings, name, credentials) : await cutForGood(settings, name, credentials);
    disconnections.push({ directory, ...(problem === undefined ? {} : { problem }) });
  }
  return disconnections;
}

type TakeoverCredentials = Pick<ClientCredentials, "keyPem" | "chainPem" | "trustAnchorPem">;

/** The device may be on its recovery session right now, and is to stay there. */
async function cutKeepingSession(settings: MosquittoSettings, name: string, credentials: TakeoverCredentials): Promise<string | undefined> {
  const { problem, sessionPresent } = await takeOver(settings, name, credentials, false);
  if (problem !== undefined || sessionPresent) return problem;
  // There was none, so we made one: a device that has no session must not find one ([MQTT-3.2.2-4]).
  return (await takeOver(settings, name, credentials, true)).problem;
}

/** The session of either rung of the ladder: over mTLS a device's client id is its name, over PSK it has a suffix (see `sdk/device.ts`). */
async function cutForGood(settings: MosquittoSettings, name: string, credentials: TakeoverCredentials): Promise<string | undefined> {
  const { problem } = await takeOver(settings, name, credentials, true);
  return problem ?? (await takeOver(settings, `${name}~recovery`, credentials, true)).problem;
}

interface Takeover {
  /** Absent when the connection is ended. */
  readonly problem?: string;
  /** Whether the client id had a session that outlived its connection. */
  readonly sessionPresent: boolean;
}

/**
 * Takes over the connection of a client id and ends it. To be called after the reload, or the old client comes straight back.
 *
 * @param clean remove the session too
 */
async function takeOver(settings: MosquittoSettings, clientId: string, credentials: TakeoverCredentials, clean: boolean): Promise<Takeover> {
  // Loaded here: the package is large, and few runs need it.
  const { connect } = (await import("mqtt")).default;
  // MQTT.js hands what it does not know on to tls.connect.
  const options: IClientOptions & Pick<ConnectionOptions, "checkServerIdentity"> = {
    protocol: "mqtts",
    host: localAddress(settings.bind),
    port: settings.mtlsPort,
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.trustAnchorPem,
    rejectUnauthorized: true,
    // Only our own broker certificates are for servers; the address we use need not be one of its names.
    checkServerIdentity: () => undefined,
    protocolVersion: 4,
    clientId,
    clean,
    reconnectPeriod: 0,
    connectTimeout: TAKEOVER_LIMIT_MS,
    resubscribe: false,
    // Queued messages may arrive at once: they are the device's, so they stay unacknowledged.
    customHandleAcks: () => undefined,
  };
  const client = connect(options);
  const takeover = await new Promise<Takeover>((resolve) => {
    client.once("connect", ({ sessionPresent }) => resolve({ sessionPresent }));
    client.on("error", (error) => resolve({ problem: error.message, sessionPresent: false }));
    client.once("close", () => resolve({ problem: "the broker closed the connection", sessionPresent: false }));
  });
  await new Promise<void>((resolve) => client.end(takeover.problem !== undefined, {}, () => resolve()));
  return takeover;
}

