/** What a policy can be compiled for; apart from the compilers, so that `--help` need not load them. */
export const COMPILER_TARGETS = [
  "mosquitto",
  "mosquitto-2.0.21",
  "mosquitto-2.1",
  "rabbitmq",
  "emqx",
  "vernemq",
  "ejabberd",
  "hivemq",
  "nanomq",
  "firewall",
] as const;

/** What a policy can be checked for: the embedded broker asks the policy itself, and needs no configuration. */
export const CHECK_TARGETS = [...COMPILER_TARGETS, "embedded"] as const;

export type CompilerTarget = (typeof COMPILER_TARGETS)[number];
