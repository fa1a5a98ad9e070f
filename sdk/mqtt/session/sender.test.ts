import { describe, expect, test } from "vitest";
import type { Journal } from "./session-journal.js";
import { Outbox } from "./outbox.js";
import { OutgoingMessage } from "./outgoing-message.js";
import { PacketIds } from "./packet-ids.js";
import { LazyMap } from "./lazy-map.js";
import { ManualTime } from "../../../test/support/mqtt/manual-time.js";
import { Sender } from "./sender.js";
import { Suspects } from "./suspects.js";

/** A journal whose work is done when the test says so, or which refuses. */
class SlowJournal implements Journal {
  readonly received = new LazyMap<number, true>();
  readonly thens: (() => void)[] = [];
  isFull = false;

  store(): void {
    if (this.isFull) throw new Error("full");
  }

  release(_message: OutgoingMessage, then: () => void): void {
    this.thens.push(then);
  }

  doubt(_message: OutgoingMessage, then: () => void): void {
    this.thens.push(then);
  }

  remove(_message: OutgoingMessage, then: () => void): void {
    this.thens.push(then);
  }

  saveReceived(then: () => void): void {
    this.thens.push(then);
  }

  commit(): boolean {
    for (const then of this.thens.splice(0)) then();
    return true;
  }
}

function parts() {
  const ids = new PacketIds();
  const journal = new SlowJournal();
  const released: number[] = [];
  const outbox = new Outbox({ maxMessages: 10, maxBytes: 10_000, overflow: "reject" });
  const sender = new Sender(outbox, ids, journal, new Suspects(new ManualTime()), {
    acknowledge: (_, id) => released.push(id),
    givenUp: () => undefined,
    unasked: () => undefined,
    uncertain: () => undefined,
    delivered: () => undefined,
    denied: () => undefined,
  });
  const message = (qos: 0 | 1 | 2): OutgoingMessage => new OutgoingMessage("t", new Uint8Array(1), qos, false, undefined, undefined);
  return { ids, journal, released, outbox, sender, message };
}

const now = new ManualTime();

describe("a packet identifier", () => {
  test("is in use until the record of its message is gone", () => {
    const { ids, journal, sender, message } = parts();
    sender.accept(message(1), true);
    sender.begin(10, 10, 5, false);
    sender.next(now);
    sender.acknowledged({ cmd: "puback", messageId: 1, reasonCode: 0 });
    expect(ids.inUse).toBe(1);
    journal.commit();
    expect(ids.inUse).toBe(0);
  });

  test("is free again when its message could not be stored, which then is nowhere", () => {
    const { ids, journal, outbox, sender, message } = parts();
    journal.isFull = true;
    expect(() => sender.accept(message(2), true)).toThrow("full");
    expect([ids.inUse, outbox.messages, outbox.waiting.size]).toEqual([0, 0, 0]);
  });
});

test("PUBREL waits until the record says that the broker has the message, also on the next connection", () => {
  const { journal, released, sender, message } = parts();
  sender.accept(message(2), true);
  sender.begin(10, 10, 5, false);
  sender.next(now);
  sender.acknowledged({ cmd: "pubrec", messageId: 1, reasonCode: 0 });
  sender.end();
  sender.begin(10, 10, 5, true);
  expect(released).toEqual([]);
  journal.commit();
  expect(released).toEqual([1]);
});

test("a PUBREC that comes again is answered by another PUBREL", () => {
  const { journal, released, sender, message } = parts();
  sender.accept(message(2), true);
  sender.begin(10, 10, 4, false);
  sender.next(now);
  for (let n = 0; n < 2; n++) {
    sender.acknowledged({ cmd: "pubrec", messageId: 1, reasonCode: 0 });
    journal.commit();
  }
  expect(released).toEqual([1, 1]);
});

test("messages given up wherever they stand leave nothing behind", () => {
  const { ids, journal, outbox, sender, message } = parts();
  const all = [message(0), message(1), message(2), message(1)];
  for (const one of all) sender.accept(one, true);
  sender.begin(10, 10, 5, false);
  sender.next(now);
  sender.next(now);
  for (const one of all) sender.giveUp(one, Object.assign(new Error("given up"), { code: "TEST" as never, nextStep: "" }));
  journal.commit();
  expect([outbox.messages, outbox.bytes, outbox.waiting.size, sender.inFlight, ids.inUse]).toEqual([0, 0, 0, 0, 0]);
});
