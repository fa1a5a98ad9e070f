/** Faults of the way between a device and its broker. */
import type { FailureCode } from "../../../sdk/failure.js";
import { HOURS, MINUTES, MOMENT, SECONDS, type FaultKind } from "./fault-kind.js";

const IMPOSTORS: readonly FailureCode[] = [
  "SERVER_CA_UNKNOWN",
  "SERVER_NAME_MISMATCH",
  "SERVER_CERTIFICATE_INVALID",
  "SERVER_CERTIFICATE_EXPIRED",
];

export const NETWORK_FAULTS: readonly FaultKind[] = [
  {
    name: "dns-failure",
    scope: "device",
    changes: "dns",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.dns = random.pick(["fails", "silent"] as const);
      if (random.chance(0.5)) device.path.resetLinks();
      return () => (device.path.dns = "works");
    },
  },
  {
    name: "refused",
    scope: "device",
    changes: "reach",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.reach = random.pick(["refused", "unreachable"] as const);
      device.path.resetLinks();
      return () => (device.path.reach = "works");
    },
  },
  {
    name: "black-hole",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device }) => {
      device.path.blackHole = true;
      return () => (device.path.blackHole = false);
    },
  },
  {
    name: "long-outage",
    scope: "device",
    changes: "black-hole",
    lasts: HOURS,
    begin: ({ device }) => {
      device.path.blackHole = true;
      return () => (device.path.blackHole = false);
    },
  },
  {
    name: "flapping",
    scope: "device",
    changes: "black-hole",
    lasts: SECONDS,
    begin: ({ device }) => {
      device.path.blackHole = true;
      return () => {
        device.path.blackHole = false;
        device.path.resetLinks();
      };
    },
  },
  { name: "reset", scope: "device", lasts: MOMENT, begin: ({ device }) => void device.path.resetLinks() },
  { name: "half-open", scope: "device", lasts: MOMENT, begin: ({ device }) => void device.path.forgetLinks() },
  {
    name: "loss",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.loss = random.pick([0.05, 0.2, 0.5]);
      return () => (device.path.loss = 0);
    },
  },
  {
    name: "slow-path",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      const { latencyMs, jitterMs } = device.path;
      device.path.latencyMs = random.between(500, 4_000);
      device.path.jitterMs = random.between(0, 2_000);
      return () => Object.assign(device.path, { latencyMs, jitterMs });
    },
  },
  {
    name: "slow-uplink",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      const { uplinkBytesPerSecond } = device.path;
      device.path.uplinkBytesPerSecond = random.pick([600, 1_200, 3_000]);
      return () => (device.path.uplinkBytesPerSecond = uplinkBytesPerSecond);
    },
  },
  {
    name: "no-network",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.isJoined = false;
      // The access point went away, the device was moved, or it is switched on before there is one.
      random.pick([() => device.path.resetLinks(), () => device.path.forgetLinks(), () => device.cutPower(1_000)])();
      return () => (device.path.isJoined = true);
    },
  },
  {
    name: "captive-portal",
    scope: "device",
    changes: "impostor",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.path.impostor = random.pick(IMPOSTORS);
      device.path.resetLinks();
      return () => (device.path.impostor = undefined);
    },
  },
  {
    name: "alerts-lost",
    scope: "device",
    lasts: HOURS,
    begin: ({ device }) => {
      device.path.alertLoss = 0.5;
      return () => (device.path.alertLoss = 0);
    },
  },
];
