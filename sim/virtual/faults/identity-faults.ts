/** Faults of credentials and of the authority that issues them. */
import type { AuthorityMood } from "../pki/virtual-authority.js";
import { HOURS, MINUTES, MOMENT, type FaultKind, type FaultSite } from "./fault-kind.js";

const authority =
  (change: (site: FaultSite) => Partial<AuthorityMood>, back: Partial<AuthorityMood>) =>
  (site: FaultSite): (() => void) => {
    Object.assign(site.authority.mood, change(site));
    if (site.random.chance(0.7)) site.device.device?.renew();
    return () => Object.assign(site.authority.mood, back);
  };

/** Renewals that are asked for while a root is changed, and the longest time between two, milliseconds. */
const ROLLOVER_ASKS = 4;
const ROLLOVER_ASKS_EVERY_MS = 1_800_000;

const recoverable = ({ device }: FaultSite): boolean => device.traits.recoverable;

export const IDENTITY_FAULTS: readonly FaultKind[] = [
  {
    name: "revoked",
    scope: "device",
    lasts: MOMENT,
    fits: recoverable,
    begin: ({ authority, broker, device }) => {
      authority.shutOut(device.id);
      broker.kick(device.id, 0x87);
      return undefined;
    },
  },
  {
    // The access list denies a name before its sessions end, as with any broker that reads its files one after the other.
    name: "rights-end-first",
    scope: "device",
    changes: "access",
    lasts: [200, 2_000],
    fits: (site) => recoverable(site) && site.device.recovery.calm,
    begin: ({ access, authority, device }) => {
      device.losesRights();
      access.denied.add(device.id);
      return () => {
        authority.shutOut(device.id);
        access.denied.delete(device.id);
      };
    },
  },
  {
    name: "revoked-quietly",
    scope: "device",
    lasts: MOMENT,
    fits: recoverable,
    // The session lives on, as on mosquitto; the next handshake tells.
    begin: ({ authority, device }) => {
      authority.shutOut(device.id);
      return undefined;
    },
  },
  {
    // With all that the name has, so also the new one of a renewal that has just arrived and was not shown yet. One of a recovery is left
    // alone: refused by CONNACK, it looks to a device as if certificates changed nothing, and it asks for no other for half a day.
    name: "revoked-in-rotation",
    scope: "device",
    lasts: MINUTES,
    fits: recoverable,
    begin: ({ authority, broker, device }) => {
      const { onEvent } = device;
      const end = (): void => void (device.onEvent = onEvent);
      let isRecovery = true;
      device.onEvent = (event) => {
        onEvent(event);
        if (event.type === "renewing") isRecovery = event.reason === "recovery";
        if (event.type !== "pending" || isRecovery) return;
        end();
        authority.shutOut(device.id);
        broker.kick(device.id, 0x87);
      };
      device.device?.renew();
      return end;
    },
  },
  {
    // A certificate was issued, its answer was lost, and then everything of the name was revoked: with it, the key of the renewal.
    name: "revoked-before-answer",
    scope: "device",
    lasts: MINUTES,
    fits: recoverable,
    begin: ({ authority, broker, device }) => {
      const { onEvent } = device;
      const end = (): void => {
        device.onEvent = onEvent;
        if (authority.mood.losesAnswersTo === device.id) authority.mood.losesAnswersTo = undefined;
      };
      device.onEvent = (event) => {
        onEvent(event);
        if (event.type !== "renewal-failed" || event.code !== "NO_ANSWER") return;
        end();
        authority.shutOut(device.id);
        broker.kick(device.id, 0x87);
      };
      authority.mood.losesAnswersTo = device.id;
      device.device?.renew();
      return end;
    },
  },
  {
    name: "client-ca-lost",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ access, broker }) => {
      access.knowsClientCa = false;
      broker.stop("keeps");
      broker.start();
      return () => (access.knowsClientCa = true);
    },
  },
  {
    // A fault of the broker drives devices to their pre-shared keys, where nobody answers them. Once the broker is mended their
    // certificates are good.
    name: "recovery-unanswered",
    scope: "everybody",
    changes: "authority",
    lasts: MINUTES,
    leavesTail: true,
    begin: ({ access, authority, broker, device }) => {
      access.knowsClientCa = false;
      authority.mood.down = true;
      broker.stop("keeps");
      broker.start();
      return () => {
        access.knowsClientCa = true;
        const answers = (): void => void (authority.mood.down = false);
        // Nobody can do without it whose certificate was revoked meanwhile.
        if (authority.current(device.id).length === 0) answers();
        return answers;
      };
    },
  },
  {
    name: "psk-withdrawn",
    scope: "device",
    lasts: HOURS,
    fits: recoverable,
    begin: ({ access, authority, device }) => {
      access.psks.delete(device.id);
      return () => {
        const key = authority.psks.of(device.id);
        if (key) access.psks.set(device.id, key);
      };
    },
  },
  {
    name: "key-lost",
    scope: "device",
    lasts: MOMENT,
    fits: recoverable,
    begin: ({ device }) => {
      device.identity.bereave();
      for (const slot of ["key-a", "key-b"]) device.keys.lose(slot);
      device.path.resetLinks();
      return undefined;
    },
  },
  { name: "renewal-asked", scope: "device", lasts: MOMENT, begin: ({ device }) => void device.device?.renew() },
  {
    // A policy with the topics of before beside them, and without those once the device was heard at the new ones.
    name: "topics-moved",
    scope: "device",
    changes: "identity-topics",
    lasts: MOMENT,
    begin: ({ authority, device, random }) => {
      authority.places.move(device.id);
      if (random.chance(0.7)) device.device?.renew();
      return undefined;
    },
  },
  {
    // The authority has a policy that did not reach the broker.
    name: "topics-nowhere",
    scope: "device",
    changes: "identity-topics",
    lasts: HOURS,
    begin: ({ authority, device, random }) => {
      const end = authority.places.misguide(device.id);
      if (random.chance(0.7)) device.device?.renew();
      return end;
    },
  },
  {
    // Devices learn of it with one renewal and say so with the next: whoever leads it asks them, more than once.
    name: "root-rollover",
    scope: "everybody",
    changes: "roots",
    lasts: MOMENT,
    fits: ({ authority }) => !authority.roots.isChanging,
    begin: ({ authority, broker, devices, random }) => {
      authority.roots.begin();
      for (let ask = 0; ask < ROLLOVER_ASKS; ask++)
        broker.time.after(ask * random.between(60_000, ROLLOVER_ASKS_EVERY_MS), () => devices.forEach(({ device }) => device?.renew()));
      return undefined;
    },
  },
  {
    name: "authority-down",
    scope: "everybody",
    changes: "authority",
    lasts: HOURS,
    begin: authority(() => ({ down: true }), { down: false }),
  },
  {
    name: "authority-refuses",
    scope: "everybody",
    changes: "authority",
    lasts: MINUTES,
    begin: authority(
      ({ random }) => ({
        refusal: {
          code: random.pick(["TRY_LATER", "RATE_LIMITED", "UNKNOWN_DEVICE", "BAD_REQUEST"]),
          ...(random.chance(0.5) ? { retryAfterSeconds: random.between(1, 600) } : {}),
        },
      }),
      { refusal: undefined },
    ),
  },
  {
    name: "authority-defective",
    scope: "everybody",
    changes: "authority",
    lasts: MINUTES,
    begin: authority(({ random }) => ({ defect: random.pick(["subject", "key", "unknown", "garbage"] as const) }), { defect: undefined }),
  },
  {
    name: "authority-clock-wrong",
    scope: "everybody",
    changes: "authority",
    lasts: MINUTES,
    begin: authority(({ random }) => ({ clockErrorMs: random.pick([-400, 400, 3_650]) * 86_400_000 }), { clockErrorMs: 0 }),
  },
  {
    name: "authority-twice",
    scope: "everybody",
    changes: "authority",
    lasts: HOURS,
    begin: authority(() => ({ twice: true }), { twice: false }),
  },
  {
    name: "reports-lost",
    scope: "everybody",
    changes: "authority",
    lasts: HOURS,
    begin: authority(() => ({ losesReports: true }), { losesReports: false }),
  },
  {
    name: "authority-slow",
    scope: "everybody",
    changes: "authority",
    lasts: MINUTES,
    begin: authority(({ random }) => ({ delayMs: random.between(5_000, 60_000) }), { delayMs: 50 }),
  },
];
