/** What the parts of a device are told, of what its application has configured. */
import { DEFAULT_BACKOFF } from "../backoff.js";
import type { MqttOptions } from "../mqtt/contract/options.js";
import type { Enrolment } from "../identity/enrolment-port.js";
import { DEFAULT_PATIENCE } from "../supervisor/credential-ladder.js";
import type { Supervisor } from "../supervisor/supervisor.js";
import type { DeviceConfig } from "./device.js";

/**
 * Between the moment a broker denies a revoked name everything and the end of its connection; with a broker of many clients some seconds,
 * milliseconds.
 */
const DENIAL_GRACE_MS = 5_000;
const DEFAULT_PACKET_BYTES = 10_240;
export const DEFAULT_INBOUND_BYTES = 24_576;

export function connectionOptions(config: DeviceConfig): Omit<MqttOptions, "clientId" | "cleanStart"> {
  const version = config.protocolVersion ?? "auto";
  return {
    protocolVersion: version === "auto" ? 5 : version,
    keepAliveSeconds: config.keepAliveSeconds ?? 60,
    connackTimeoutMs: config.connectTimeoutMs ?? 20_000,
    ackTimeoutMs: config.ackTimeoutMs ?? 60_000,
    inboundBytes: config.inboundBytes ?? DEFAULT_INBOUND_BYTES,
    denialGraceMs: DENIAL_GRACE_MS,
    ...(config.heldForMs === undefined ? {} : { heldForMs: config.heldForMs }),
    maximumPacketSizeBytes: config.maximumPacketSizeBytes ?? DEFAULT_PACKET_BYTES,
  };
}

/** @returns false where the device asks for no certificates, true where it asks Hawser's authority */
export function enrols({ credential, enrolment = true }: DeviceConfig): boolean | Enrolment {
  return credential === undefined && enrolment;
}

export function supervisorOptions(config: DeviceConfig): ConstructorParameters<typeof Supervisor>[0] {
  return {
    broker: config.broker,
    ...(config.spares ? { spares: config.spares } : {}),
    ...(config.recovery ? { recovery: config.recovery } : {}),
    protocolVersion: config.protocolVersion ?? "auto",
    backoff: { ...DEFAULT_BACKOFF, ...config.backoff },
    patience: { ...DEFAULT_PATIENCE, ...config.recoveryPatience },
    connectTimeoutMs: config.connectTimeoutMs ?? 20_000,
    redirects: config.redirects ?? [],
    passwordOnly: config.credential !== undefined,
    enrols: enrols(config),
  };
}
