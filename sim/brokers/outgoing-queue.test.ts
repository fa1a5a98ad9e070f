import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "./broker-events.js";
import { OutgoingQueue, type QueuedPacket } from "./outgoing-queue.js";

const message = (brokerCounter: number, messageId?: number): QueuedPacket => ({
  cmd: "publish",
  brokerId: "broker",
  brokerCounter,
  topic: "a",
  payload: Buffer.from(String(brokerCounter)),
  qos: 2,
  retain: true,
  dup: false,
  messageId,
});

const queueOf = (...counters: number[]): OutgoingQueue => {
  const queue = new OutgoingQueue();
  for (const counter of counters) queue.add(message(counter), 1, DEFAULT_LIMITS);
  return queue;
};

describe("the queue of a session", () => {
  it("gives a message another packet identifier when an unacknowledged one has it", () => {
    const queue = queueOf(1, 2, 3);
    queue.sending(message(1, 65_535));
    const second = message(2, 65_535);
    queue.sending(second);
    expect(second.messageId).toBe(1);
    queue.acknowledged(65_535);
    const third = message(3, 65_535);
    queue.sending(third);
    expect(third.messageId).toBe(65_535);
    expect(queue.size).toBe(2);
  });

  it("forgets a message only when it is acknowledged, and ignores strange acknowledgements", () => {
    const queue = queueOf(1);
    expect(queue.acknowledged(9)).toBeUndefined();
    queue.sending(message(1, 9));
    expect(queue.acknowledged(9)).toMatchObject({ brokerCounter: 1 });
    expect(queue.acknowledged(9)).toBeUndefined();
    expect(queue.size).toBe(0);
  });

  it("keeps within its bound of bytes, and has room again after acknowledgements", () => {
    const queue = new OutgoingQueue();
    const limits = { ...DEFAULT_LIMITS, maxQueuedBytes: 1_500 };
    const big = (counter: number): QueuedPacket => ({ ...message(counter, counter), payload: Buffer.alloc(1_000) });
    expect(queue.add(big(1), 1, limits)).toBe(true);
    expect(queue.add(big(2), 1, limits)).toBe(false);
    queue.sending(big(1));
    queue.acknowledged(1);
    expect(queue.add(big(3), 1, limits)).toBe(true);
  });

  it("replays in order what comes in meanwhile too, and ends when all was sent", async () => {
    const queue = queueOf(1, 2);
    queue.beginReplay();
    const seen: number[] = [];
    for await (const packet of queue.replay(() => "send")) {
      seen.push(packet.brokerCounter);
      expect(packet).toMatchObject({ qos: 1, retain: false, dup: false });
      if (packet.brokerCounter === 2) {
        queue.add(message(3), 1, DEFAULT_LIMITS);
        expect(queue.waitsInReplay(message(3))).toBe(true);
      }
      setImmediate(() => queue.sending({ ...packet, messageId: packet.brokerCounter }));
    }
    expect(seen).toEqual([1, 2, 3]);
    expect(queue.waitsInReplay(message(3))).toBe(false);
  });

  it("ends a replay whose client went away", async () => {
    const queue = queueOf(1);
    queue.beginReplay();
    const replay = queue.replay(() => "send");
    expect((await replay.next()).done).toBe(false);
    const end = replay.next();
    queue.endReplay();
    expect((await end).done).toBe(true);
    expect(queue.size).toBe(1);
  });

  it("drops or keeps what may not be sent", async () => {
    const queue = queueOf(1, 2);
    queue.beginReplay();
    const kept: QueuedPacket[] = [];
    for await (const packet of queue.replay(() => "keep")) kept.push(packet);
    expect([kept.length, queue.size]).toEqual([0, 2]);
    queue.beginReplay();
    for await (const packet of queue.replay(() => "drop")) kept.push(packet);
    expect([kept.length, queue.size]).toEqual([0, 0]);
  });
});
