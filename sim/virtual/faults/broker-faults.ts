/** Faults of the broker and of whoever runs it. */
import { CALM, Reason, type BrokerMood } from "../broker/broker-settings.js";
import type { VirtualBroker } from "../broker/virtual-broker.js";
import { framed } from "../wire/encode.js";
import { HOURS, MINUTES, MOMENT, SECONDS, type FaultKind, type FaultSite } from "./fault-kind.js";

/** Changes the broker's behaviour while it lasts. */
function mood(broker: VirtualBroker, change: Partial<BrokerMood>): () => void {
  broker.mood = { ...broker.mood, ...change };
  const back = Object.fromEntries(Object.keys(change).map((key) => [key, CALM[key as keyof BrokerMood]]));
  return () => {
    broker.mood = { ...broker.mood, ...back };
  };
}

const down =
  (memory: "keeps" | "forgets", farewell?: number) =>
  ({ broker }: FaultSite): (() => void) => {
    broker.stop(memory, farewell);
    return () => broker.start();
  };

const utf8 = (text: string): number[] => [0, text.length, ...[...text].map((character) => character.charCodeAt(0))];

/** Packets that no broker may send: bad lengths, reserved bits, forbidden types, packets out of place. */
const MALFORMED: readonly (() => Uint8Array)[] = [
  () => Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01),
  () => Uint8Array.of(0x00, 0x00),
  () => framed(0x10, Uint8Array.of(0, 4, 77, 81, 84, 84)),
  () => framed(0x20, Uint8Array.of(0, 0)),
  () => framed(0x36, Uint8Array.of(...utf8("down/x"), 0, 1, 0)),
  () => framed(0x30, Uint8Array.of(0, 200, 65)),
  () => framed(0x32, Uint8Array.of(...utf8("a/+"), 0, 1, 0)),
  () => framed(0x32, Uint8Array.of(...utf8("a"), 0, 0, 0)),
  () => framed(0x30, Uint8Array.of(0, 2, 0xc3, 0x28, 0)),
  () => framed(0x40, Uint8Array.of(0)),
  () => framed(0x90, Uint8Array.of(0, 1)),
  () => framed(0xe1, Uint8Array.of()),
  () => framed(0x62, Uint8Array.of(0, 0)),
];

/** A broker that restarts: everybody has to be let in again. */
function restart(broker: VirtualBroker): void {
  broker.stop("keeps");
  broker.start();
}

function backendAway({ broker, random }: FaultSite): () => void {
  restart(broker);
  return mood(broker, { refusal: random.pick([Reason.notAuthorized, Reason.badUserNameOrPassword]) });
}

export const BROKER_FAULTS: readonly FaultKind[] = [
  {
    name: "broker-restart",
    scope: "everybody",
    changes: "broker-up",
    lasts: SECONDS,
    begin: (site) => down("keeps", site.random.chance(0.5) ? Reason.serverShuttingDown : undefined)(site),
  },
  { name: "broker-outage", scope: "everybody", changes: "broker-up", lasts: MINUTES, begin: down("keeps") },
  { name: "broker-amnesia", scope: "everybody", changes: "broker-up", lasts: SECONDS, begin: down("forgets") },
  {
    name: "broker-busy",
    scope: "everybody",
    changes: "refusal",
    lasts: MINUTES,
    begin: ({ broker, device, random }) => {
      const refusal = random.pick([Reason.serverUnavailable, Reason.serverBusy, Reason.quotaExceeded, Reason.connectionRateExceeded]);
      broker.kick(device.id, refusal);
      return mood(broker, { refusal });
    },
  },
  {
    // What stands behind the broker and knows the devices is away for a moment: everybody who connects is refused.
    name: "backend-hiccup",
    scope: "everybody",
    changes: "refusal",
    lasts: SECONDS,
    begin: backendAway,
  },
  { name: "backend-away", scope: "everybody", changes: "refusal", lasts: MINUTES, begin: backendAway },
  {
    // Whatever certificate a device shows: new ones change nothing, though the authority makes as many as are asked for.
    name: "refused-for-hours",
    scope: "everybody",
    changes: "refusal",
    lasts: HOURS,
    begin: ({ broker }) => {
      restart(broker);
      return mood(broker, { refusalOverMtls: Reason.notAuthorized });
    },
  },
  {
    name: "broker-clock-wrong",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ access, broker, random }) => {
      access.clockErrorMs = random.pick([-400, -2, 2, 400]) * 86_400_000;
      restart(broker);
      return () => (access.clockErrorMs = 0);
    },
  },
  {
    name: "redirect",
    scope: "everybody",
    changes: "refusal",
    lasts: SECONDS,
    // To brokers that are not on the device's list, or to nowhere at all.
    begin: ({ broker, device, random }) => {
      const refusal = random.pick([Reason.useAnotherServer, Reason.serverMoved]);
      const serverReference = random.pick(["evil.virtual:8883", "::::", ""]);
      broker.kick(device.id, refusal, serverReference);
      return mood(broker, { refusal, serverReference });
    },
  },
  {
    name: "broker-slow",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ broker, random }) => mood(broker, { processingMs: random.between(200, 4_000) }),
  },
  {
    name: "broker-mute",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ broker, device }) => (device.path.resetLinks(), mood(broker, { silent: true })),
  },
  {
    name: "drops-after-connack",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ broker, device }) => (broker.kick(device.id, Reason.administrativeAction), mood(broker, { dropsAfterConnack: true })),
  },
  {
    name: "publish-refused",
    scope: "everybody",
    lasts: MINUTES,
    begin: ({ broker, random }) => mood(broker, { publishRefusal: random.pick([Reason.quotaExceeded, Reason.notAuthorized]) }),
  },
  {
    name: "kick",
    scope: "device",
    lasts: MOMENT,
    begin: ({ broker, device, random }) =>
      void broker.kick(
        device.id,
        random.pick([Reason.administrativeAction, Reason.serverBusy, Reason.messageRateTooHigh, Reason.keepAliveTimeout, 0xa0, 0x80]),
      ),
  },
  { name: "takeover", scope: "device", lasts: MOMENT, begin: ({ broker, device }) => void broker.kick(device.id, Reason.sessionTakenOver) },
  {
    name: "takeover-fight",
    scope: "device",
    lasts: MINUTES,
    begin: ({ broker, device }) => {
      let over = false;
      const fight = (): void => {
        if (over) return;
        broker.kick(device.id, Reason.sessionTakenOver);
        broker.time.after(7_000, fight);
      };
      fight();
      return () => (over = true);
    },
  },
  {
    // A policy that denies a topic by hanging up, as cloud brokers do; once a message, once a subscription.
    name: "hangs-up-on-item",
    scope: "device",
    lasts: HOURS,
    begin: ({ broker, device, random }) => {
      const item = `devices/${device.id}/${random.pick(["up/alarm", "up/event", "up/state", "down/set"])}`;
      broker.poison.add(item);
      device.path.resetLinks();
      device.poison = item;
      return () => {
        broker.poison.delete(item);
        device.poison = undefined;
      };
    },
  },
  {
    name: "malformed",
    scope: "device",
    lasts: MOMENT,
    begin: ({ broker, device, random }) => void broker.inject(device.id, random.pick(MALFORMED)()),
  },
  { name: "session-removed", scope: "device", lasts: MOMENT, begin: ({ broker, device }) => void broker.forgetSession(device.id) },
  {
    name: "access-denied",
    scope: "device",
    changes: "access",
    lasts: MINUTES,
    begin: ({ access, device }) => {
      access.denied.add(device.id);
      return () => void access.denied.delete(device.id);
    },
  },
  {
    name: "server-certificate-expired",
    scope: "everybody",
    lasts: HOURS,
    begin: ({ broker }) => {
      const { certificate } = broker.mtls;
      broker.mtls.certificate = { ...certificate, notAfterMs: certificate.notBeforeMs + 1_000 };
      broker.stop("keeps");
      broker.start();
      return () => (broker.mtls.certificate = certificate);
    },
  },
];
