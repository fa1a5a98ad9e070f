/**
 * A device's own reports, for `hawser monitor`: what a broker's log does not say, or says without a name. They are few, small and at QoS 0,
 * so that no message of the application ever waits for one.
 */
import type { DeviceTopic } from "../device/device.js";
import type { DeviceEvent } from "../events.js";
import type { Clock } from "../platform.js";

/**
 * `denied`: the broker refused a publish (reason code 135). `recovery`: the certificate was refused, and the device used its pre-shared key
 * for a new one. `clock`: the broker's certificate is not valid by the device's time, so one of the two is wrong.
 */
export type TroubleKind = "denied" | "recovery" | "clock";

/** What of a `Device` reports need. */
export interface ReportingDevice {
  listen(listener: (event: DeviceEvent) => void): () => void;
  publish(topic: DeviceTopic, payload: string, options: { qos: 0 }): Promise<unknown>;
}

export interface ReportOptions {
  /** Where reports go, default `identity/report` below the device's base. The broker's policy has to allow it. */
  topic?: DeviceTopic;
  /** Between two reports of one kind, milliseconds; default an hour. */
  everyMs?: number;
}

const HOUR_MS = 3_600_000;
/** Characters of a topic in a report. */
const MOST_TOPIC = 128;
const CLOCK_CODES: readonly string[] = ["SERVER_CERTIFICATE_NOT_YET_VALID", "SERVER_CERTIFICATE_EXPIRED"];

interface Trouble {
  /** Since the last report. */
  count: number;
  /** Of the first of them. */
  detail: { readonly code?: string; readonly topic?: string };
  sentMs?: number;
}

/**
 * Reports from now on: each kind at once when it first happens and the device is online with its certificate, then once in `everyMs` at
 * most, with the count. What was held back is told with the next event after that.
 * @param clock that of the device's platform
 * @returns ends it
 * @example
 * const device = new Device(config, platform);
 * reportTrouble(device, platform.clock);
 * device.start();
 */
export function reportTrouble(
  device: ReportingDevice,
  clock: Pick<Clock, "monotonicMs">,
  { topic = "identity/report", everyMs = HOUR_MS }: ReportOptions = {},
): () => void {
  const troubles = new Map<TroubleKind, Trouble>();
  let isOnline = false;

  const note = (kind: TroubleKind, detail: Trouble["detail"]): void => {
    const trouble = troubles.get(kind);
    if (trouble === undefined) troubles.set(kind, { count: 1, detail });
    else if (trouble.count++ === 0) trouble.detail = detail;
  };

  const send = (kind: TroubleKind, trouble: Trouble, nowMs: number): void => {
    const { count, detail } = trouble;
    trouble.sentMs = nowMs;
    trouble.count = 0;
    device.publish(topic, JSON.stringify({ v: 1, kind, count, ...detail }), { qos: 0 }).catch(() => {
      // It is told again with what follows, and not before its time.
      if (trouble.count === 0) trouble.detail = detail;
      trouble.count += count;
    });
  };

  return device.listen((event) => {
    if (event.type === "connected") isOnline = event.credential !== "psk";
    else if (event.type === "disconnected" || event.type === "stopped") isOnline = false;
    const seen = troubleOf(event);
    if (seen !== undefined) note(...seen);
    if (!isOnline) return;
    const nowMs = clock.monotonicMs();
    for (const [kind, trouble] of troubles)
      if (trouble.count > 0 && nowMs - (trouble.sentMs ?? -Infinity) >= everyMs) send(kind, trouble, nowMs);
  });
}

function troubleOf(event: DeviceEvent): [TroubleKind, Trouble["detail"]] | undefined {
  if (event.type === "message-dropped" && event.code === "NOT_AUTHORIZED") return ["denied", { topic: event.topic.slice(0, MOST_TOPIC) }];
  if (event.type === "credential-changed" && event.to === "psk") return ["recovery", { code: event.code }];
  if (event.type === "disconnected" && CLOCK_CODES.includes(event.code)) return ["clock", { code: event.code }];
  return undefined;
}
