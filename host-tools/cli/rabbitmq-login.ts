/** How commands reach RabbitMQ's management API. */
import { readFileSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { ManagementApi, parseManagementUrl } from "../brokers/rabbitmq/management-api.js";
import { readProbeCredentials } from "../doctor/live/probe-credentials.js";
import { RabbitmqSource } from "../monitor/rabbitmq-source.js";
import type { RabbitmqOwner } from "../monitor/rabbitmq-source.js";

export interface RabbitmqLogin {
  rabbitmq?: string;
  credentials?: string;
  ca?: string;
}

/** Undefined without `--rabbitmq`. To be started. Throws as {@link managementApi}. */
export function rabbitmqSourceOf({ rabbitmq, credentials = "", ca }: RabbitmqLogin, owner: RabbitmqOwner): RabbitmqSource | undefined {
  return rabbitmq === undefined ? undefined : new RabbitmqSource(managementApi(rabbitmq, credentials, ca), owner);
}

/**
 * @param credentials a JSON file with username and password
 * @param caFile trusted instead of the system's CA certificates, and of those of `credentials`
 * @throws HawserError `BAD_URL`, `BAD_CREDENTIALS_FILE`; the system's errors
 */
export function managementApi(url: string, credentials: string, caFile: string | undefined): ManagementApi {
  const { username, password, ca } = readProbeCredentials(credentials);
  if (username === undefined || password === undefined)
    throw new HawserError(
      "BAD_CREDENTIALS_FILE",
      `${credentials} has no username and password`,
      'Give a file like {"username":"u","password":"p"}, of a user with the tag `monitoring`.',
    );
  const anchors = caFile === undefined ? ca : readFileSync(caFile, "utf8");
  return new ManagementApi({ url: parseManagementUrl(url), username, password, ca: anchors });
}
