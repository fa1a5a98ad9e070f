/**
 * Settles what devices with a product's program accepted against what the watcher saw. Messages are told apart by topic and payload: equal
 * ones by their count.
 */
import type { ProgramAccount } from "../program/program-plan.js";
import type { DeliveryFault, Settlement } from "./delivery-account.js";
import { levelAndContent, type TRIED } from "./program-content.js";

const FAULTS_KEPT = 100;

export function settlePrograms(accounts: readonly ProgramAccount[], seen: ReadonlyMap<string, ReadonlyMap<number, number>>): Settlement {
  const accepted = [0, 0, 0];
  const faults: DeliveryFault[] = [];
  let [delivered, lostAtQos0, copiesAtQos1, unpromised, faultCount] = [0, 0, 0, 0, 0];
  const fault = (found: DeliveryFault, count: number): void => {
    faultCount += count;
    if (faults.length < FAULTS_KEPT) faults.push(found);
  };
  for (const account of accounts) {
    const counts = seen.get(account.id) ?? new Map<number, number>();
    let missing = 0;
    const published = byContent(account);
    for (const [content, levels] of published) {
      const came = counts.get(content) ?? 0;
      const [qos0, qos1, qos2, tried] = levels;
      [qos0, qos1, qos2].forEach((count, qos) => (accepted[qos] = (accepted[qos] ?? 0) + count));
      const promised = qos1 + qos2;
      delivered += Math.min(came, promised + qos0);
      missing += Math.max(0, promised - came);
      lostAtQos0 += Math.max(0, qos0 - Math.max(0, came - promised));
      const unexpected = Math.max(0, came - promised - qos0);
      unpromised += Math.min(tried, unexpected);
      const beyond = unexpected - Math.min(tried, unexpected);
      if (beyond > 0 && qos1 + tried > 0) copiesAtQos1 += beyond;
      else if (beyond > 0) fault({ kind: "repeated", id: account.id, count: beyond }, beyond);
    }
    const foreign = [...counts].reduce((sum, [content, came]) => sum + (published.has(content) ? 0 : came), 0);
    if (foreign > 0) fault({ kind: "foreign", id: account.id, count: foreign }, foreign);
    const unexplained = missing - account.givenUp;
    if (unexplained > 0) fault({ kind: "missing", id: account.id, count: unexplained }, unexplained);
  }
  return {
    accepted: { qos0: accepted[0] ?? 0, qos1: accepted[1] ?? 0, qos2: accepted[2] ?? 0 },
    delivered,
    lostAtQos0,
    copiesAtQos1,
    unpromised,
    faults,
    faultCount,
  };
}

/** How often each content was accepted at each QoS, and how often it was only tried. */
function byContent({ published }: ProgramAccount): Map<number, [qos0: number, qos1: number, qos2: number, tried: number]> {
  const sums = new Map<number, [number, number, number, number]>();
  for (const entry of published) {
    const { level, content } = levelAndContent(entry);
    const levels = sums.get(content) ?? [0, 0, 0, 0];
    levels[level as 0 | 1 | 2 | typeof TRIED] += 1;
    sums.set(content, levels);
  }
  return sums;
}
