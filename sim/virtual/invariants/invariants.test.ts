import { utf8Encode } from "../../../sdk/encoding/text.js";
import { beforeEach, describe, expect, it } from "vitest";
import { failure, type FailureCode } from "../../../sdk/failure.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import { VirtualAuthority } from "../pki/virtual-authority.js";
import { Flash } from "../power/flash.js";
import { VirtualKeys } from "../power/key-store.js";
import { PowerSupply } from "../power/power-supply.js";
import { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { drainByTurns, VirtualTime } from "../time/virtual-time.js";
import { Chronicle } from "../world/chronicle.js";
import { AttemptWatch } from "./attempt-watch.js";
import { BoundsWatch } from "./bounds-watch.js";
import { IdentityWatch } from "./identity-watch.js";
import { InboundLedger } from "./inbound-ledger.js";
import { OutboundLedger } from "./outbound-ledger.js";
import { RecoveryWatch } from "./recovery-watch.js";

let time: VirtualTime;
let chronicle: Chronicle;
beforeEach(() => {
  time = new VirtualTime(drainByTurns, (error) => {
    throw error;
  });
  chronicle = new Chronicle(time);
});
const broken = (): string[] => chronicle.violations.map(({ invariant }) => invariant);

describe("the ledger of published messages", () => {
  let ledger: OutboundLedger;
  beforeEach(() => (ledger = new OutboundLedger("dev", chronicle)));
  const accepted = (qos: 1 | 2 = 1, topic = "t"): number => {
    const entry = ledger.offer(topic, qos, true, 1);
    ledger.settled(entry);
    return entry.sequence;
  };

  it("is content when all arrives once and in order", () => {
    for (const sequence of [accepted(1), accepted(2), accepted(1)]) ledger.arrive("t", sequence);
    ledger.settle();
    expect(broken()).toEqual([]);
  });

  it("misses what was accepted and never came, whatever else came", () => {
    accepted(1);
    ledger.arrive("t", accepted(1));
    ledger.settle();
    expect(broken()).toEqual(["qos1-lost"]);
  });

  it("accepts one loss for one drop that was reported", () => {
    accepted(2);
    accepted(2);
    ledger.dropped("t");
    ledger.settle();
    expect(broken()).toEqual(["qos2-lost"]);
    ledger.dropped("t");
    ledger.settle();
    expect(broken()).toEqual(["qos2-lost"]);
  });

  it("objects to a second arrival at QoS 2, not at QoS 1", () => {
    const [once, twice] = [accepted(1), accepted(2)];
    for (const sequence of [once, once, twice]) ledger.arrive("t", sequence);
    expect(broken()).toEqual([]);
    ledger.arrive("t", twice);
    expect(broken()).toEqual(["qos2-doubled"]);
  });

  it("excuses a second arrival after the broker has lost its memory of the first", () => {
    const sequence = accepted(2);
    ledger.arrive("t", sequence);
    ledger.forgotten(sequence);
    ledger.arrive("t", sequence);
    expect(broken()).toEqual([]);
  });

  it("objects to a later message before an earlier one, on one topic", () => {
    const [first, second, other] = [accepted(1), accepted(1), accepted(1, "u")];
    for (const [topic, sequence] of [
      ["u", other],
      ["t", second],
      ["t", first],
    ] as const)
      ledger.arrive(topic, sequence);
    expect(broken()).toEqual(["order"]);
  });

  it("objects to a promise kept before the broker has the message", () => {
    ledger.settled(ledger.offer("t", 1, false, 1));
    expect(broken()).toEqual(["qos1-lost"]);
  });

  it("forgives what was in RAM when the power went, never what was in flash", () => {
    accepted(1);
    ledger.powerCut(false);
    ledger.settle();
    expect(broken()).toEqual([]);
    accepted(1);
    ledger.powerCut(true);
    ledger.settle();
    expect(broken()).toEqual(["qos1-lost"]);
  });
});

describe("the ledger of commands", () => {
  let ledger: InboundLedger;
  beforeEach(() => (ledger = new InboundLedger("dev", chronicle)));

  it("counts what the broker had a session for, and what the application got of it", () => {
    for (let i = 0; i < 3; i++) ledger.sent("t", 1);
    ledger.gaveUp(1);
    ledger.handedOver("t", 2);
    expect(ledger.tally).toEqual({ sent: 2, reached: 1 });
  });
  const handled = (sequence: number): void => {
    ledger.handedOver("t", sequence);
    ledger.release(sequence);
    ledger.wroteSession();
  };

  it("is content when each is handled and then acknowledged", () => {
    ledger.sent("t", 2);
    handled(1);
    ledger.acknowledged(1);
    ledger.settle();
    expect(broken()).toEqual([]);
  });

  it("objects to an acknowledgement before the application is done", () => {
    ledger.sent("t", 1);
    ledger.handedOver("t", 1);
    ledger.acknowledged(1);
    expect(broken()).toEqual(["early-ack"]);
  });

  it("allows another repeat where power went while the application was at it again, whatever was written meanwhile", () => {
    ledger.sent("t", 2);
    for (let boot = 0; boot < 2; boot++) {
      ledger.handedOver("t", 1);
      ledger.release(1); // and flash refuses the note
      ledger.powerCut(true);
    }
    ledger.handedOver("t", 1);
    ledger.wroteSession(); // of another message
    ledger.powerCut(true);
    ledger.handedOver("t", 1);
    expect(broken()).toEqual([]);
    ledger.release(1);
    ledger.wroteSession();
    ledger.powerCut(true);
    ledger.handedOver("t", 1);
    expect(broken()).toEqual(["qos2-doubled"]);
  });

  it("misses what the broker held and the application never got", () => {
    ledger.sent("t", 1);
    ledger.sent("t", 2);
    ledger.gaveUp(1);
    ledger.settle();
    expect(broken()).toEqual(["qos2-lost"]);
  });

  it("objects to a second handling at QoS 2, but for what the application was at when the power went", () => {
    ledger.sent("t", 2);
    ledger.sent("t", 2);
    handled(1);
    ledger.handedOver("t", 2);
    ledger.powerCut(true);
    handled(2);
    expect(broken()).toEqual([]);
    handled(1);
    expect(broken()).toEqual(["qos2-doubled"]);
  });
});

describe("the watch over attempts", () => {
  let watch: AttemptWatch;
  beforeEach(() => {
    watch = new AttemptWatch("dev", time, chronicle);
    watch.switchedOn();
  });
  const certificate = { kind: "mtls", slot: "key-a", chain: [], trustAnchors: [] } as const;
  const psk = { kind: "psk", slot: "psk", identity: "dev" } as const;
  const fails = (code: FailureCode, delayMs: number, attempt: number): void => {
    const reason = failure(code, "");
    watch.linkEnded(reason);
    watch.event({ type: "disconnected", code, class: reason.class, message: "", credential: "mtls", wasConnected: false });
    watch.event({ type: "retrying", delayMs, attempt });
  };

  it("is content with growing delays that are kept to", async () => {
    for (const [attempt, delayMs] of [700, 1_500, 2_000].entries()) {
      watch.dialled(certificate);
      fails("CONNECTION_REFUSED", delayMs, attempt + 1);
      await time.run(time.nowMs + delayMs);
    }
    expect(broken()).toEqual([]);
  });

  it("objects to an attempt before the delay is over", async () => {
    watch.dialled(certificate);
    fails("CONNECTION_REFUSED", 900, 1);
    await time.run(899);
    watch.dialled(certificate);
    expect(broken()).toEqual(["attempt-spacing"]);
  });

  it("objects to a backoff that begins anew without a stable connection", () => {
    fails("CONNECTION_RESET", 500, 1);
    fails("CONNECTION_RESET", 500, 1);
    expect(broken()).toEqual(["attempt-spacing"]);
  });

  it("objects to a delay shorter than the reason asks for", () => {
    fails("SERVER_BUSY", 4_999, 1);
    expect(broken()).toEqual(["attempt-spacing"]);
  });

  it("objects to delays without jitter once there are enough of them", () => {
    for (let attempt = 1; attempt <= 80; attempt++) fails("CONNECTION_REFUSED", Math.min(120_000, 1_000 * 2 ** (attempt - 1)), attempt);
    watch.settle();
    expect(broken()).toEqual(["attempt-spacing"]);
  });

  it("objects to PSK after a network fault, and to PSK that is not announced", () => {
    watch.dialled(certificate);
    watch.linkEnded(failure("CONNECTION_RESET", ""));
    watch.switchedOn();
    watch.dialled(psk);
    expect(broken()).toEqual(["psk-on-network-fault", "rung-without-reason"]);
  });

  const goesDown = (code: FailureCode): void => watch.event({ type: "credential-changed", from: "mtls", to: "psk", code, message: "" });

  it("is content with PSK after a certificate was named twice, announced", async () => {
    for (const attempt of [1, 2]) {
      watch.dialled(certificate);
      watch.credentialFault();
      fails("CERTIFICATE_REVOKED", 500, attempt);
      await time.run(time.nowMs + 500);
    }
    goesDown("CERTIFICATE_REVOKED");
    watch.dialled(psk);
    expect(broken()).toEqual([]);
  });

  it("objects to PSK after one refusal, or after some that did not last", async () => {
    watch.dialled(certificate);
    fails("NOT_AUTHORIZED", 500, 1);
    goesDown("NOT_AUTHORIZED");
    expect(broken()).toEqual(["left-too-soon"]);
  });

  it("objects to PSK because of a broker's verdict that no broker gave", async () => {
    for (const attempt of [1, 2]) {
      watch.dialled(certificate);
      fails("CERTIFICATE_REVOKED", 500, attempt);
      await time.run(time.nowMs + 500);
    }
    goesDown("CERTIFICATE_REVOKED");
    expect(broken()).toEqual(["rung-without-reason"]);
  });

  it("objects to one new certificate after the other", () => {
    for (let i = 0; i < 11; i++) watch.event({ type: "pending", serial: String(i) });
    expect(broken()).toEqual(["useless-certificates"]);
  });

  it("objects to plaintext", () => {
    watch.dialled({ kind: "none" });
    expect(broken()).toEqual(["rung-without-reason"]);
  });
});

describe("the watch over the identity", () => {
  const power = new PowerSupply();
  let flash: Flash;
  let keys: VirtualKeys;
  let watch: IdentityWatch;
  let authority: VirtualAuthority;

  beforeEach(() => {
    flash = new Flash(100_000);
    keys = new VirtualKeys("dev");
    authority = new VirtualAuthority(() => WORLD_BEGINS_MS, new SeededRandom("ca"), 86_400_000);
    watch = new IdentityWatch("dev", flash, keys, chronicle);
    install("a");
    watch.provisioned();
  });

  function install(slot: "a" | "b"): string {
    keys.open(power).generate("key-a");
    const issued = authority.issue("dev", keys.open(power).publicKey("key-a"));
    if (slot === "a")
      installIdentity(flash.open(power), keys.open(power), {
        id: "dev",
        role: "sensor",
        chain: authority.chainOf(issued),
        trustAnchors: [authority.root],
      });
    return issued.serial;
  }

  it("objects the moment the key of the active identity is gone", () => {
    keys.open(power).destroy("key-a");
    expect(broken()).toEqual(["no-usable-identity"]);
  });

  it("objects the moment the chain of the active identity is gone", () => {
    flash.open(power).delete("chain-a");
    expect(broken()).toEqual(["no-usable-identity"]);
  });

  it("objects to an identity that serves and was never proved", () => {
    watch.bereave();
    install("a");
    expect(broken()).toEqual(["unproved-identity"]);
  });

  it("takes CONNACK and SUBACK together for a proof", () => {
    watch.bereave();
    keys.open(power).generate("key-a");
    const issued = authority.issue("dev", keys.open(power).publicKey("key-a"));
    watch.accepted(issued.serial);
    watch.granted(issued.serial, "devices/dev/identity/response");
    installIdentity(flash.open(power), keys.open(power), {
      id: "dev",
      role: "sensor",
      chain: authority.chainOf(issued),
      trustAnchors: [authority.root],
    });
    expect(broken()).toEqual([]);
    expect(watch.rotations).toBe(1);
  });
});

describe("the watch over a device's topics", () => {
  it("objects to those that no broker has granted, and to no others", () => {
    const power = new PowerSupply();
    const flash = new Flash(100_000);
    const watch = new IdentityWatch("dev", flash, new VirtualKeys("dev"), chronicle);
    watch.provisioned();
    const record = (identity: string): void =>
      flash.open(power).put("identity", utf8Encode(JSON.stringify({ v: 1, active: null, topics: { base: "devices/dev", identity } })));
    watch.granted("1", "place-1/dev/identity/response");
    record("place-1/dev/identity");
    expect(broken()).toEqual([]);
    record("place-2/dev/identity");
    expect(broken()).toEqual(["unproved-topics"]);
  });
});

describe("the watch over recovery", () => {
  it("objects when a device is not back in time, and measures when it is", async () => {
    const watch = new RecoveryWatch("dev", time, chronicle, 60_000);
    watch.faultBegins();
    watch.faultBegins();
    watch.faultEnds("reset");
    await time.run(100_000);
    watch.faultEnds("black-hole");
    await time.run(120_000);
    watch.heard();
    expect([broken(), watch.worstMs, watch.worstAfter]).toEqual([[], 20_000, "black-hole"]);
    watch.faultBegins();
    watch.faultEnds("reset");
    await time.run(200_000);
    expect(broken()).toEqual(["not-back-online"]);
  });

  it("calls a time calm once nothing has been wrong for a while", async () => {
    const watch = new RecoveryWatch("dev", time, chronicle, 60_000);
    watch.heard();
    expect(watch.calm).toBe(false);
    await time.run(1_000_000);
    expect(watch.calm).toBe(true);
    watch.faultBegins();
    expect(watch.calm).toBe(false);
  });
});

describe("the watch over bounds", () => {
  it("objects to what grows beyond them", () => {
    const watch = new BoundsWatch("dev", { outboxMessages: 10, outboxBytes: 1_000 }, chronicle);
    const status = (messages: number, bytes: number) =>
      ({ state: "online", id: "dev", credential: "mtls", outbox: { messages, bytes, inFlight: 0 } }) as const;
    const flash = new Flash(1_000);
    watch.look(status(10, 1_000), flash, 5, 1);
    expect(broken()).toEqual([]);
    watch.look(status(11, 1_001), flash, 500, 9);
    watch.finished(status(1, 1));
    expect(chronicle.violations.map(({ what }) => what.replace(/,.*/, ""))).toEqual([
      "11 messages in the outbox",
      "1001 bytes in the outbox",
      "500 timers",
      "9 links",
      "1 messages that are never finished",
    ]);
  });
});
