/** Faults of the device's own hardware, clock and power. */
import { HOURS, MINUTES, MOMENT, type FaultKind } from "./fault-kind.js";

const DAY_MS = 86_400_000;

export const DEVICE_FAULTS: readonly FaultKind[] = [
  { name: "power-cut", scope: "device", lasts: MOMENT, begin: ({ device, random }) => void device.cutPower(random.between(500, 600_000)) },
  { name: "power-blink", scope: "device", lasts: MOMENT, begin: ({ device }) => void device.cutPower(1) },
  {
    // Strikes in the middle of whatever is written next: an enrolment, a message, a session's record.
    name: "power-cut-in-write",
    scope: "device",
    lasts: MOMENT,
    begin: ({ device, random }) => {
      if (random.chance(0.6)) device.device?.renew();
      device.power?.cutAfter(random.between(0, 30));
      return undefined;
    },
  },
  {
    name: "reboot-loop",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      device.rebootEveryMs = random.between(300, 30_000);
      device.cutPower(100);
      return () => (device.rebootEveryMs = undefined);
    },
  },
  {
    name: "switched-off",
    scope: "device",
    // Long enough, at times, for the certificate and the broker's session to expire.
    lasts: [DAY_MS / 24, DAY_MS],
    fits: ({ device }) => device.traits.recoverable,
    begin: ({ device }) => {
      device.switchOff();
      return () => device.boot();
    },
  },
  {
    name: "flash-failing",
    scope: "device",
    changes: "flash",
    lasts: MINUTES,
    begin: ({ device, random }) => {
      const share = random.pick([0.1, 0.5, 1]);
      device.flash.failing = () => random.chance(share);
      if (random.chance(0.5)) device.device?.renew();
      return () => (device.flash.failing = () => false);
    },
  },
  {
    name: "flash-full",
    scope: "device",
    changes: "flash-size",
    lasts: MINUTES,
    begin: ({ device }) => {
      const { capacityBytes } = device.flash;
      device.flash.capacityBytes = device.flash.usedBytes + 600;
      return () => (device.flash.capacityBytes = capacityBytes);
    },
  },
  {
    name: "clock-jump",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device, random }) => (
      device.clock?.jump(random.pick([-1, 1]) * random.between(60_000, 40 * DAY_MS)),
      () => device.clock?.synchronise()
    ),
  },
  {
    name: "time-servers-lost",
    scope: "device",
    lasts: HOURS,
    begin: ({ device }) => {
      device.timeServers = false;
      return () => (device.timeServers = true);
    },
  },
  {
    name: "stopped",
    scope: "device",
    lasts: MINUTES,
    begin: ({ device }) => {
      device.stop();
      return () => device.restart();
    },
  },
];
