import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { failure } from "../../../sdk/failure.js";
import type { FailureCode } from "../../../sdk/failure.js";
import type { DeviceEvent } from "../../../sdk/events.js";
import { FirstConnection } from "../first-connection.js";
import { Prospects } from "./prospects.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const RETRYING: DeviceEvent = { type: "retrying", delayMs: 100, attempt: 1 };

function failed(code: FailureCode, credential: "mtls" | "psk" = "mtls"): DeviceEvent {
  const reason = failure(code, `it was ${code}`);
  return { type: "disconnected", code, class: reason.class, message: reason.message, credential, wasConnected: false };
}

const connected: DeviceEvent = {
  type: "connected",
  credential: "mtls",
  protocolVersion: 5,
  sessionPresent: false,
  tlsVersion: "TLSv1.3",
  resumed: false,
};

/** What became of it: the code it gave up with, "connected", or "waiting". */
async function verdict(subject: FirstConnection): Promise<string> {
  return Promise.race([
    subject.settled.then(
      () => "connected",
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    ),
    new Promise<string>((resolve) => setImmediate(() => resolve("waiting"))),
  ]);
}

function watch(timeoutMs: number, ...events: DeviceEvent[]): FirstConnection {
  return watchWith(false, timeoutMs, events);
}

function watchWith(recoverable: boolean, timeoutMs: number, events: readonly DeviceEvent[]): FirstConnection {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const subject = new FirstConnection("mqtts://localhost:8883", timeoutMs);
  const prospects = new Prospects(subject, recoverable);
  for (const event of events) prospects.observe(event);
  return subject;
}

describe("the prospects of a first connection", () => {
  test.each<FailureCode>(["SERVER_NAME_MISMATCH", "SERVER_CA_UNKNOWN", "KEY_MISMATCH", "CERTIFICATE_EXPIRED", "KEY_MISSING"])(
    "gives up at once on %s when nothing else is to be tried",
    async (code) => {
      expect(await verdict(watch(15_000, failed(code), RETRYING))).toBe(`${code}: it was ${code}`);
    },
  );

  test("believes a broker's plain refusal only the third time: it may not have heard of the device yet", async () => {
    const refused = [failed("NOT_AUTHORIZED"), RETRYING];
    expect(await verdict(watch(15_000, ...refused, ...refused))).toBe("waiting");
    expect(await verdict(watch(15_000, ...refused, ...refused, ...refused))).toBe("NOT_AUTHORIZED: it was NOT_AUTHORIZED");
  });

  test("waits for the pre-shared key, however often the certificate is refused, where the device has one", async () => {
    const refused = ["CERTIFICATE_REVOKED", "NOT_AUTHORIZED", "NOT_AUTHORIZED", "NOT_AUTHORIZED"] as const;
    expect(
      await verdict(
        watchWith(
          true,
          15_000,
          refused.flatMap((code) => [failed(code), RETRYING]),
        ),
      ),
    ).toBe("waiting");
  });

  test("goes on when the device changes to its pre-shared key", async () => {
    const change: DeviceEvent = { type: "credential-changed", from: "mtls", to: "psk", code: "CERTIFICATE_EXPIRED", message: "" };
    expect(await verdict(watch(15_000, failed("CERTIFICATE_EXPIRED"), change, RETRYING))).toBe("waiting");
  });

  test("goes on when the device drops an unproved identity", async () => {
    const drop: DeviceEvent = { type: "identity-dropped", serial: "4f", code: "CERTIFICATE_REVOKED", message: "" };
    expect(await verdict(watch(15_000, failed("CERTIFICATE_REVOKED"), drop, RETRYING))).toBe("waiting");
  });

  test("gives up when the pre-shared key is refused as well", async () => {
    const back: DeviceEvent = { type: "credential-changed", from: "psk", to: "mtls", code: "PSK_REJECTED", message: "" };
    expect(await verdict(watch(15_000, failed("PSK_REJECTED", "psk"), back, RETRYING))).toBe("PSK_REJECTED: it was PSK_REJECTED");
  });

  test("retries a network fault until the timeout and then tells the last one", async () => {
    const subject = watch(15_000, failed("DNS_FAILED"), RETRYING, failed("CONNECTION_REFUSED"), RETRYING);
    expect(await verdict(subject)).toBe("waiting");
    vi.advanceTimersByTime(14_999);
    expect(await verdict(subject)).toBe("waiting");
    vi.advanceTimersByTime(1);
    expect(await verdict(subject)).toBe(
      "CONNECTION_REFUSED: no connection to mqtts://localhost:8883 within 15 s: it was CONNECTION_REFUSED",
    );
  });

  test("has a code even when nothing at all was heard", async () => {
    const subject = watch(1_000);
    vi.advanceTimersByTime(1_000);
    expect(await verdict(subject)).toMatch(/^CONNECT_TIMEOUT/);
  });

  test("never gives up after the first connection", async () => {
    const subject = watch(15_000, connected, failed("CERTIFICATE_REVOKED"), RETRYING);
    vi.advanceTimersByTime(60_000);
    expect(await verdict(subject)).toBe("connected");
  });

  test("never gives up with a timeout of 0", async () => {
    const subject = watch(0, failed("SERVER_CA_UNKNOWN"), RETRYING);
    vi.advanceTimersByTime(3_600_000);
    expect(await verdict(subject)).toBe("waiting");
  });
});
