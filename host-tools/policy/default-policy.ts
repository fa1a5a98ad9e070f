/** The policy a CA has until its owner writes another: `hawser policy init` writes this text. */
import { parseBuiltInPolicy } from "./policy-file.js";
import type { Policy } from "./policy-model.js";

export const DEFAULT_POLICY_TEXT = `# Who may publish and read what. Reference: docs/policy.md. Check it with: hawser policy check --policy policy.yaml
version: 1
name: default
description: Every device has its own topics; four roles for everything else.

listeners:
  mtls:
    description: Certificates; everything a role gives.
    port: 8883
    requires: [certificate]
  psk:
    description: Pre-shared keys; a device gets a new certificate here and can do nothing else.
    port: 8884
    requires: [psk]
    scope: recovery

classes:
  device:
    description: Any device.
    base: devices/{id}
    channels:
      up:
        description: What a device reports.
        topic: up/#
        direction: up
      down:
        description: Commands and settings for a device.
        topic: down/#
        direction: down
      request:
        description: A device asks for a new certificate, or reports the one it committed.
        topic: identity/request
        direction: up
        recovery: true
      response:
        description: The authority's answer.
        topic: identity/response
        direction: down
        recovery: true

# Devices whose role is not named below (sensor, thermostat, ...) have this one.
defaultDeviceRole: device

roles:
  device:
    for: devices
    class: device
  backend:
    description: Reads what devices report and sends them commands.
    grants:
      - allow: read
        channels: [device.up]
      - allow: write
        channels: [device.down]
  operator:
    description: Reads everything of every device and sends commands.
    grants:
      - allow: read
        topics: ["devices/#"]
      - allow: write
        channels: [device.down]
  monitor:
    description: Reads what devices report, and the broker's own figures.
    grants:
      - allow: read
        channels: [device.up]
      - allow: read
        topics: ["$SYS/#"]
  authority:
    description: The enrolment authority of Hawser.
    grants:
      - allow: read
        channels: [device.request]
      - allow: write
        channels: [device.response]
      # Its own message to itself tells it that it has heard everything from before.
      - allow: write
        topics: [devices/hawser-authority/identity/request]

limits:
  connections: 20000
  packetBytes: 131072
  inflight: 20
  queuedMessages: 10000
  queuedBytes: 33554432
  keepAliveSeconds: 1200
`;

let parsed: Policy | undefined;

export function defaultPolicy(): Policy {
  parsed ??= parseBuiltInPolicy(DEFAULT_POLICY_TEXT, "the default policy");
  return parsed;
}
