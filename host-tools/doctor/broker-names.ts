/** The brokers whose configurations the doctor reads. */
export const CONFIG_BROKERS = ["mosquitto", "rabbitmq", "emqx", "nanomq"] as const;
export type ConfigBroker = (typeof CONFIG_BROKERS)[number];
