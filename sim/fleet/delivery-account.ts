/** Settles what the devices accepted against what the independent watcher saw. */
import type { DeviceAccount } from "./fleet-plan.js";

export type DeliveryFault =
  | { readonly kind: "lost"; readonly id: string; readonly n: number; readonly qos: number }
  /** QoS 2 promises one delivery. */
  | { readonly kind: "doubled"; readonly id: string; readonly n: number; readonly qos: 2; readonly times: number }
  /** A message that no device numbered, or from a device that is none of the fleet. */
  | { readonly kind: "invented"; readonly id: string; readonly n: number }
  /** Messages of a product's program, which have no numbers. */
  | { readonly kind: "missing"; readonly id: string; readonly count: number }
  | { readonly kind: "repeated"; readonly id: string; readonly count: number }
  /** Came on the device's topics, and its program never published them. */
  | { readonly kind: "foreign"; readonly id: string; readonly count: number };

export interface Settlement {
  /** Messages by what they were promised. */
  readonly accepted: { readonly qos0: number; readonly qos1: number; readonly qos2: number };
  readonly delivered: number;
  /** QoS 0 promises nothing: counted, and no fault. */
  readonly lostAtQos0: number;
  /** QoS 1 may deliver more than once. */
  readonly copiesAtQos1: number;
  /** Messages that their device did not accept, and that came all the same: the application was told of a failure, not of a loss. */
  readonly unpromised: number;
  readonly faults: readonly DeliveryFault[];
  readonly faultCount: number;
}

const FAULTS_KEPT = 100;

export function settle(accounts: readonly DeviceAccount[], counts: ReadonlyMap<string, Uint8Array>): Settlement {
  const accepted = { qos0: 0, qos1: 0, qos2: 0 };
  const faults: DeliveryFault[] = [];
  let [delivered, lostAtQos0, copiesAtQos1, unpromised, faultCount] = [0, 0, 0, 0, 0];
  const fault = (found: DeliveryFault): void => {
    faultCount += 1;
    if (faults.length < FAULTS_KEPT) faults.push(found);
  };
  const known = new Set<string>();
  for (const { id, numbered, notAccepted, qos: levels } of accounts) {
    known.add(id);
    const seen = counts.get(id) ?? new Uint8Array();
    const exempt = new Set(notAccepted);
    for (let n = 0; n < numbered; n++) {
      const times = seen[n] ?? 0;
      const qos = Number(levels[n]);
      if (times > 0) delivered += 1;
      if (exempt.has(n)) {
        unpromised += times > 0 ? 1 : 0;
        continue;
      }
      if (qos === 0) accepted.qos0 += 1;
      else if (qos === 1) accepted.qos1 += 1;
      else accepted.qos2 += 1;
      if (times === 0 && qos === 0) lostAtQos0 += 1;
      else if (times === 0) fault({ kind: "lost", id, n, qos });
      else if (times > 1 && qos === 2) fault({ kind: "doubled", id, n, qos: 2, times });
      else if (times > 1) copiesAtQos1 += times - 1;
    }
    for (let n = numbered; n < seen.length; n++) if ((seen[n] ?? 0) > 0) fault({ kind: "invented", id, n });
  }
  for (const [id, seen] of counts) {
    if (known.has(id)) continue;
    for (const [n, times] of seen.entries()) if (times > 0) fault({ kind: "invented", id, n });
  }
  return { accepted, delivered, lostAtQos0, copiesAtQos1, unpromised, faults, faultCount };
}

export function describeFault(fault: DeliveryFault): string {
  if (fault.kind === "lost") return `${fault.id}: message ${fault.n} (QoS ${fault.qos}) was accepted and never delivered`;
  if (fault.kind === "doubled") return `${fault.id}: message ${fault.n} (QoS 2) was delivered ${fault.times} times`;
  if (fault.kind === "missing") return `${fault.id}: ${fault.count} messages were accepted and never delivered`;
  if (fault.kind === "repeated") return `${fault.id}: ${fault.count} messages came more often than their QoS allows`;
  if (fault.kind === "foreign") return `${fault.id}: ${fault.count} messages came that its program never published`;
  return `${fault.id}: message ${fault.n} was delivered, but no device of this fleet accepted it`;
}
