/**
 * Settles what devices with a product's program accepted against what the watcher saw. Messages are told apart by topic and payload: equal
 * ones by their count.
 */
import type { ProgramAccount } from "../program/program-plan.js";
import type { DeliveryFault, Settlement } from "./delivery-account.js";
import { levelAndContent } from "./program-content.js";

const FAULTS_KEPT = 100;

export function settlePrograms(accounts: readonly ProgramAccount[], seen: ReadonlyMap<string, ReadonlyMap<number, number>>): Settlement {
  const accepted = [0, 0, 0];
  const faults: DeliveryFault[] = [];
  let [delivered, lostAtQos0, copiesAtQos1, faultCount] = [0, 0, 0, 0];
  const fault = (found: DeliveryFault, count: number): void => {
    faultCount += count;
    if (faults.length < FAULTS_KEPT) faults.push(found);
  };
  for (const account of accounts) {
    const counts = seen.get(account.id) ?? new Map<number, number>();
    let missing = 0;
    for (const [content, levels] of byContent(account)) {
      const came = counts.get(content) ?? 0;
      const [qos0 = 0, qos1 = 0, qos2 = 0] = levels;
      levels.forEach((count, qos) => (accepted[qos] = (accepted[qos] ?? 0) + count));
      const promised = qos1 + qos2;
      delivered += Math.min(came, promised + qos0);
      missing += Math.max(0, promised - came);
      lostAtQos0 += Math.max(0, qos0 - Math.max(0, came - promised));
      const beyond = came - promised - qos0;
      if (beyond > 0 && qos1 > 0) copiesAtQos1 += beyond;
      else if (beyond > 0) fault({ kind: "repeated", id: account.id, count: beyond }, beyond);
    }
    const unexplained = missing - account.givenUp;
    if (unexplained > 0) fault({ kind: "missing", id: account.id, count: unexplained }, unexplained);
  }
  return {
    accepted: { qos0: accepted[0] ?? 0, qos1: accepted[1] ?? 0, qos2: accepted[2] ?? 0 },
    delivered,
    lostAtQos0,
    copiesAtQos1,
    unpromised: 0,
    faults,
    faultCount,
  };
}

function byContent({ accepted }: ProgramAccount): Map<number, [number, number, number]> {
  const sums = new Map<number, [number, number, number]>();
  for (const entry of accepted) {
    const { qos, content } = levelAndContent(entry);
    const levels = sums.get(content) ?? [0, 0, 0];
    levels[qos as 0 | 1 | 2] += 1;
    sums.set(content, levels);
  }
  return sums;
}
