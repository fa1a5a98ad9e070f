import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { HawserError } from "../../sdk/errors.js";
import { readAnswer } from "../../sdk/identity/enrolment.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { enrolmentMessage, type EnrolmentMessage } from "../../sdk/identity/enrolment.js";
import { EnrolmentAuthority } from "./enrolment-authority.js";
import type { Asker, EnrolmentCa, Outcome } from "./enrolment-authority.js";
import { HolderQuestions } from "./holder-questions.js";
import { readMessage } from "./enrolment-messages.js";
import { RateLimiter } from "./rate-limiter.js";

const TOPIC = "devices/sensor-1/identity/request";
const requestId = "0123456789abcdef0123456789abcdef";
const csr = Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x07);
const chain = [Uint8Array.of(0x30, 1), Uint8Array.of(0x30, 2)];
const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const request = utf8({ v: 1, type: "enrol", requestId, csr: Buffer.from(csr).toString("base64") });

const keyStore = memoryKeyStore();
keyStore.generate("key-a");
const HOLDER = { keySlot: "key-a", certificate: { publicKey: keyStore.publicKey("key-a") } };
const signed = (message: EnrolmentMessage): Uint8Array => enrolmentMessage(message, keyStore, HOLDER);

class RecordingCa implements EnrolmentCa {
  readonly calls: unknown[] = [];
  error: Error | undefined;
  objectionError: Error | undefined;
  repeated = false;
  bases = ["devices/{id}/identity"];
  /** The name has a certificate with this key. */
  heldBy: string | undefined;

  async issueFromCsr(
    id: string,
    der: Uint8Array,
    _arrivedAtMs: number,
    { signedBy, holderIsSilent }: Asker,
  ): Promise<{ chain: Uint8Array[]; serial: string; repeated: boolean }> {
    if (this.heldBy !== undefined && signedBy !== this.heldBy && !holderIsSilent) throw new HawserError("ASKING_HOLDER", "ask");
    this.calls.push({ issue: id, csr: Buffer.from(der).toString("hex") });
    if (this.error) throw this.error;
    return { chain, serial: "4f", repeated: this.repeated };
  }

  async retireOlder(id: string, activeSerial: string): Promise<string[]> {
    this.calls.push({ retire: id, activeSerial });
    if (this.error) throw this.error;
    return ["3a"];
  }

  async recordObjection(id: string, signedBy: string): Promise<string> {
    if (this.objectionError) throw this.objectionError;
    if (signedBy !== this.heldBy) throw new HawserError("UNKNOWN_CERTIFICATE", "no such key");
    this.calls.push({ objection: id });
    return "3a";
  }

  async identityBasesOf(): Promise<readonly string[]> {
    return this.bases;
  }
}

interface Bench {
  readonly ca: RecordingCa;
  readonly subject: EnrolmentAuthority;
  handle(payload: Uint8Array, topic?: string): Promise<Outcome>;
  pass(ms: number): void;
}

function authority(perHour = 0, heardAll?: () => Promise<boolean>): Bench {
  let nowMs = 0;
  const ca = new RecordingCa();
  const limiter = new RateLimiter({ perHour, burst: perHour }, () => 0);
  const subject = new EnrolmentAuthority(ca, limiter, new HolderQuestions(() => nowMs), undefined, heardAll);
  return { ca, subject, handle: (payload, topic = TOPIC) => subject.handle(topic, payload, 0), pass: (ms) => void (nowMs += ms) };
}

/** One whose name is held by the key in `key-a`. */
async function held(heardAll?: () => Promise<boolean>): Promise<Bench & { codeFor: (payload: Uint8Array) => Promise<string> }> {
  const bench = authority(0, heardAll);
  const report = readMessage(signed({ type: "active", serial: "4f" }));
  bench.ca.heldBy = report.type === "active" ? report.signedBy : undefined;
  const codeFor = async (payload: Uint8Array): Promise<string> => {
    const { event } = await bench.handle(payload);
    return event.event === "refused" ? event.code : event.event;
  };
  return { ...bench, codeFor };
}

describe("EnrolmentAuthority", () => {
  test("answers a request with the certificate, on the device's own topic", async () => {
    const { ca, handle } = authority();
    const { event, answer } = await handle(request);
    expect(ca.calls).toEqual([{ issue: "sensor-1", csr: "3003020107" }]);
    expect(event).toEqual({ event: "issued", id: "sensor-1", requestId, serial: "4f", repeated: false });
    expect(answer?.topic).toBe("devices/sensor-1/identity/response");
    expect(readAnswer(answer?.payload ?? new Uint8Array())).toEqual({ requestId, chain });
  });

  test("takes the id from the topic, whatever the message says", async () => {
    const { ca, handle } = authority();
    await handle(utf8({ v: 1, type: "enrol", requestId, id: "other", csr: Buffer.from(csr).toString("base64") }));
    expect(ca.calls).toEqual([{ issue: "sensor-1", csr: "3003020107" }]);
  });

  test.each(["BAD_SIGNATURE", "WRONG_SUBJECT", "UNKNOWN_DEVICE", "DEVICE_REVOKED", "BAD_REQUEST"])(
    "tells the device of %s",
    async (code) => {
      const { ca, handle } = authority();
      ca.error = new HawserError(code as never, "no");
      const { event, answer } = await handle(request);
      expect(event).toMatchObject({ event: "refused", code });
      expect(readAnswer(answer?.payload ?? new Uint8Array())).toEqual({ requestId, error: { code, message: "no" } });
    },
  );

  test.each([new HawserError("CA_BUSY", "somebody else writes /srv/ca"), new Error("ENOSPC /srv/ca/registry")])(
    "keeps the CA's own trouble (%s) to itself and asks the device to come back",
    async (error) => {
      const { ca, handle } = authority();
      ca.error = error;
      const { event, answer } = await handle(request);
      expect(event).toMatchObject({ event: "failed", reason: error.message });
      expect(new TextDecoder().decode(answer?.payload)).not.toContain("/srv/ca");
      expect(readAnswer(answer?.payload ?? new Uint8Array())).toMatchObject({
        requestId,
        error: { code: "TRY_LATER", retryAfterSeconds: 30 },
      });
    },
  );

  test("answers a request it cannot read when it knows whom to answer", async () => {
    const { ca, handle } = authority();
    const { event, answer } = await handle(utf8({ v: 1, type: "enrol", requestId, csr: 7 }));
    expect(event).toMatchObject({ event: "refused", code: "BAD_REQUEST" });
    expect(readAnswer(answer?.payload ?? new Uint8Array())).toMatchObject({ requestId, error: { code: "BAD_REQUEST" } });
    expect(ca.calls).toEqual([]);
  });

  test("ignores what is no request and what comes on another topic", async () => {
    const { ca, handle } = authority();
    for (const outcome of [
      await handle(utf8("hello")),
      await handle(request, "devices/a/b/identity/request"),
      await handle(new Uint8Array(9000)),
    ]) {
      expect(outcome).toMatchObject({ event: { event: "ignored" } });
      expect(outcome.answer).toBeUndefined();
    }
    expect(ca.calls).toEqual([]);
  });

  test("limits how often one device may ask, bad requests included", async () => {
    const { ca, handle } = authority(2);
    await handle(request);
    await handle(utf8({ v: 1, type: "enrol", requestId, csr: "" }));
    const { event, answer } = await handle(request);
    expect(event).toMatchObject({ event: "refused", code: "RATE_LIMITED" });
    expect(readAnswer(answer?.payload ?? new Uint8Array())).toMatchObject({ error: { code: "RATE_LIMITED", retryAfterSeconds: 1800 } });
    expect(ca.calls).toHaveLength(1);
    await handle(request, "devices/sensor-2/identity/request");
    expect(ca.calls).toHaveLength(2);
  });

  test("does not count a request answered again with the same certificate", async () => {
    const { ca, handle } = authority(1);
    ca.repeated = true;
    for (let i = 0; i < 5; i += 1) expect((await handle(request)).event).toMatchObject({ event: "issued", repeated: true });
    expect(ca.calls).toHaveLength(5);
  });

  test("retires what a device no longer uses, without an answer", async () => {
    const { ca, handle } = authority();
    const outcome = await handle(signed({ type: "active", serial: "4f" }));
    expect(outcome).toEqual({ event: { event: "active", id: "sensor-1", serial: "4f", retired: ["3a"] } });
    expect(ca.calls).toEqual([{ retire: "sensor-1", activeSerial: "4f" }]);
  });

  test("survives a report the CA refuses", async () => {
    const { ca, handle } = authority();
    ca.error = new HawserError("UNKNOWN_CERTIFICATE", "no such certificate");
    expect(await handle(signed({ type: "active", serial: "4f" }))).toEqual({
      event: { event: "failed", id: "sensor-1", code: "UNKNOWN_CERTIFICATE", reason: "no such certificate" },
    });
  });

  test("retires nothing for a report that proves no key", async () => {
    const { ca, handle } = authority();
    const text = new TextDecoder().decode(signed({ type: "active", serial: "4f" }));
    for (const report of [utf8({ v: 1, type: "active", serial: "4f" }), new TextEncoder().encode(text.replace('"4f"', '"5f"'))])
      expect((await handle(report)).event).toMatchObject({ event: "ignored" });
    expect(ca.calls).toEqual([]);
  });

  test("asks the holder wherever the policy lets the device ask, and answers the others where they asked", async () => {
    const { ca, handle } = await held();
    ca.bases = ["fleet/{id}", "devices/{id}/identity", "elsewhere/{id}"];
    const asked = await handle(request);
    expect(asked.answer).toMatchObject({
      topic: "devices/sensor-1/identity/response",
      alsoTo: ["fleet/sensor-1/response", "elsewhere/sensor-1/response"],
    });
    const waits = await handle(request);
    expect(waits.answer?.alsoTo).toBeUndefined();
  });

  test("serves the holder of the present certificate's key at once, and nobody else before the holder was asked", async () => {
    const { ca, handle, codeFor, pass } = await held();
    expect(await codeFor(signed({ type: "enrol", requestId, csr: Buffer.from(csr).toString("base64") }))).toBe("issued");

    const { answer } = await handle(request);
    expect(readAnswer(answer?.payload ?? new Uint8Array())).toMatchObject({ error: { code: "ASKING_HOLDER", retryAfterSeconds: 100 } });
    const other = utf8({ v: 1, type: "enrol", requestId: "ab".repeat(16), csr: Buffer.from(csr).toString("base64") });
    // Asked three times in all: a session of the holder may have just ended, and the question with it.
    for (const asker of [request, other]) {
      pass(95_000);
      expect([await codeFor(request), await codeFor(other)]).toEqual(["TRY_LATER", "TRY_LATER"]);
      // As late as a device comes that has asked in vain for hours.
      pass(3_600_000);
      expect(await codeFor(asker)).toBe("ASKING_HOLDER");
    }
    expect(ca.calls).toHaveLength(1);
    pass(100_000);
    expect(await codeFor(request)).toBe("issued");
    // Somebody else holds it now, and is asked from the beginning.
    expect(await codeFor(other)).toBe("ASKING_HOLDER");
  });

  test("refuses them for ten minutes once the holder objects, and then asks again", async () => {
    const { ca, handle, codeFor, pass } = await held();
    await handle(request);
    const { event, answer } = await handle(signed({ type: "in-use", requestId }));
    expect(event).toEqual({ event: "in-use", id: "sensor-1", requestId, serial: "3a" });
    expect(readAnswer(answer?.payload ?? new Uint8Array())).toMatchObject({ requestId, error: { code: "IN_USE", retryAfterSeconds: 600 } });
    pass(599_000);
    expect(await codeFor(request)).toBe("IN_USE");
    pass(1_000);
    expect(await codeFor(request)).toBe("ASKING_HOLDER");
    expect(ca.calls).toEqual([{ objection: "sensor-1" }]);
  });

  test("takes an objection from the holder's key alone, and about the request at hand", async () => {
    const { ca, handle, codeFor, pass } = await held();
    await handle(request);
    keyStore.generate("key-b");
    const stranger = { keySlot: "key-b", certificate: { publicKey: keyStore.publicKey("key-b") } };
    expect(await codeFor(utf8({ v: 1, type: "in-use", requestId }))).toBe("ignored");
    expect(await codeFor(enrolmentMessage({ type: "in-use", requestId }, keyStore, stranger))).toBe("failed");
    expect(await codeFor(signed({ type: "in-use", requestId: "ab".repeat(16) }))).toBe("ignored");
    for (const code of ["ASKING_HOLDER", "ASKING_HOLDER", "issued"]) {
      pass(100_000);
      expect(await codeFor(request)).toBe(code);
    }
    expect(ca.calls).toEqual([{ issue: "sensor-1", csr: "3003020107" }]);
  });

  test("takes no silence for an answer while messages of the device stay unread", async () => {
    const { handle, codeFor, pass, subject } = await held();
    await handle(request);
    for (let i = 0; i < 4; i++) {
      subject.missed("sensor-1");
      pass(100_000);
      expect(await codeFor(request)).toBe("ASKING_HOLDER");
    }
  });

  test("takes no silence for an answer before all is heard that the holder may have said", async () => {
    const heard = [() => Promise.resolve(false), async () => (await objects(), true), () => Promise.resolve(true)];
    const { handle, codeFor, pass, subject } = await held(() => (heard.shift() ?? expect.fail)());
    const objects = (): Promise<Outcome> => handle(signed({ type: "in-use", requestId }));
    for (let i = 0; i < 3; i++) {
      expect(await codeFor(request)).toBe("ASKING_HOLDER");
      pass(100_000);
    }
    expect(await codeFor(request)).toBe("TRY_LATER");
    expect(await codeFor(request)).toBe("IN_USE");
    subject.missedSome();
    for (const code of ["ASKING_HOLDER", "ASKING_HOLDER", "ASKING_HOLDER", "issued"]) {
      expect(await codeFor(request)).toBe(code);
      pass(100_000);
    }
  });

  test("begins again where an objection could not be put on record", async () => {
    const { ca, handle, codeFor, pass } = await held();
    await handle(request);
    ca.objectionError = new HawserError("REGISTRY_AWAY", "the database does not answer");
    expect(await codeFor(signed({ type: "in-use", requestId }))).toBe("failed");
    for (const code of ["ASKING_HOLDER", "ASKING_HOLDER", "ASKING_HOLDER", "issued"]) {
      expect(await codeFor(request)).toBe(code);
      pass(100_000);
    }
  });

  test("never rejects, and answers only the asking device, whatever comes", async () => {
    const { handle } = authority();
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.jsonValue().map(utf8),
      fc.record({ v: fc.constant(1), type: fc.constant("enrol"), requestId: fc.constant(requestId), csr: fc.base64String() }).map(utf8),
    );
    await fc.assert(
      fc.asyncProperty(anything, fc.oneof(fc.constant(TOPIC), fc.string()), async (payload, topic) => {
        const { answer } = await handle(payload, topic);
        if (answer !== undefined) expect([answer.topic, topic]).toEqual(["devices/sensor-1/identity/response", TOPIC]);
      }),
    );
  });
});
