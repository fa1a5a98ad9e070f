/**
 * What the device program on XS and whoever drives it say to each other: one JSON object a line. Commands go in, each answered once, in any
 * order; events come out as they happen. Bytes are standard base64.
 */
import type { DeviceConfig, DeviceStatus } from "../../sdk/device/device.js";
import type { ErrorCode } from "../../sdk/error-codes.js";
import type { DeviceEvent } from "../../sdk/events.js";
import type { PublishOptions, PublishResult, SubscribeOptions } from "../../sdk/mqtt/contract/options.js";
import type { HeapFigures } from "./host-natives.js";

/** What of a `DeviceConfig` can be said in JSON. */
export type DeviceSettings = Omit<DeviceConfig, "login" | "credential">;

/** Signs in by password alone: `credential` and `login` of a `DeviceConfig` as far as JSON can say them. */
export interface SignIn {
  id: string;
  /** DER, base64. */
  trustAnchors: string[];
  username?: string;
  password: string;
}

/** What is put into a device before it first connects. */
export interface InstallCommand {
  id: string;
  role: string;
  pskIdentity?: string;
  /** The pre-shared key, base64. */
  psk?: string;
  /** DER, base64, leaf first; for the key that `makeKey` made. */
  chain?: string[];
  trustAnchors: string[];
}

/** Command name to [parameters, result]. */
export interface DeviceCommands {
  /** A new key in slot `key-a`; the answer is its certificate request, base64. */
  makeKey: [{ commonName: string }, string];
  install: [InstallCommand, null];
  /** Makes the device from what is stored, subscribes and connects. */
  start: [
    {
      settings: DeviceSettings;
      /** Instead of an identity that was installed. */
      signIn?: SignIn;
      subscriptions?: { filter: string; options?: SubscribeOptions }[];
      minimumVersion?: number;
      maximumVersion?: number;
    },
    null,
  ];
  publish: [{ topic: string; payload: string; options?: PublishOptions }, PublishResult];
  /** Resolves with the granted level; messages come as events and are acknowledged then, or, where nobody is to read, once `read` came. */
  subscribe: [{ filter: string; options?: SubscribeOptions; unread?: boolean }, number];
  /** Begins to read what was subscribed unread. */
  read: [object, null];
  renew: [object, null];
  /** `base`: below which its topics are. */
  status: [object, DeviceStatus & { base: string }];
  stop: [object, null];
  /** After a garbage collection. */
  heap: [object, HeapFigures & { meter: number }];
}

export type DeviceCommand = {
  [Name in keyof DeviceCommands]: { call: number; do: Name; with: DeviceCommands[Name][0] };
}[keyof DeviceCommands];

export type DeviceOutput =
  | { answer: number; result: unknown }
  | { answer: number; error: { code: ErrorCode; message: string; nextStep: string } }
  | { event: DeviceEvent }
  | { message: { topic: string; payload: string; qos: 0 | 1 | 2; retain: boolean } }
  | { log: { level: string; message: string; fields?: Readonly<Record<string, string | number | boolean>> } };

/** What a `DeviceConfig` has for a device that signs in by password. */
export function byPassword(
  { id, trustAnchors, ...login }: SignIn,
  base64Decode: (text: string) => Uint8Array,
): Pick<DeviceConfig, "credential" | "login"> {
  return { credential: { kind: "password", id, trustAnchors: trustAnchors.map(base64Decode) }, login: () => login };
}
