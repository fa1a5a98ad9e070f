/** How commands reach RabbitMQ's management API. */
import { ManagementApi } from "../brokers/rabbitmq/management-api.js";
import { RabbitmqSource } from "../monitor/rabbitmq-source.js";
import type { RabbitmqOwner } from "../monitor/rabbitmq-source.js";
import { managementLogin } from "./management-login.js";

export interface RabbitmqLogin {
  rabbitmq?: string;
  credentials?: string;
  ca?: string;
}

/** Undefined without `--rabbitmq`. To be started. Throws as {@link managementApi}. */
export function rabbitmqSourceOf({ rabbitmq, credentials = "", ca }: RabbitmqLogin, owner: RabbitmqOwner): RabbitmqSource | undefined {
  return rabbitmq === undefined ? undefined : new RabbitmqSource(managementApi(rabbitmq, credentials, ca), owner);
}

/** Throws as `managementLogin`. */
export function managementApi(url: string, credentials: string, caFile: string | undefined): ManagementApi {
  const next = 'Give a file like {"username":"u","password":"p"}, of a user with the tag `monitoring`.';
  return new ManagementApi(managementLogin(url, credentials, { caFile, next }));
}
