/**
 * The station's end of the serial line: one request at a time, in parts the device can take, repeated until it is answered. What else comes
 * over the line (a boot log, an answer to an earlier request) is passed over.
 */
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { ErrorCode } from "../../sdk/error-codes.js";
import { HawserError } from "../../sdk/errors.js";
import { encodeFrame, FrameDecoder } from "../../sdk/provisioning/frames.js";
import { PROTOCOL_VERSION } from "../../sdk/provisioning/messages.js";
import { ACK, ANSWER } from "../../sdk/provisioning/parts.js";
import { requestParts } from "./request-parts.js";
import type { RequestPart } from "./request-parts.js";

export interface StationLinkOptions {
  /** How long the device may take for the acknowledgement of a part, milliseconds. Default 500. */
  readonly ackTimeoutMs?: number;
  /** And for its answer: it may be making a key. Default 5000. */
  readonly answerTimeoutMs?: number;
  /** How often a request is begun before the device counts as silent. Default 3. */
  readonly attempts?: number;
}

export type Answer = Readonly<Record<string, unknown>>;

/** How often a part is sent before the request is begun again. */
const PART_TRIES = 3;

const DEFAULTS: Required<StationLinkOptions> = { ackTimeoutMs: 500, answerTimeoutMs: 5_000, attempts: 3 };

/** Refused by the device, not by this machine: a full disk there is not one here. */
export class DeviceRefusal extends HawserError {}

/** Takes a payload from the device if it is what is waited for. */
type Expected<T> = (payload: Uint8Array) => T | undefined;

export class StationLink {
  readonly #line: Duplex;
  readonly #options: Required<StationLinkOptions>;
  readonly #frames = new FrameDecoder();
  #transfer = randomBytes(1)[0] ?? 0;
  #onPayload: (payload: Uint8Array) => void = () => undefined;
  #onLost: (error: HawserError) => void = () => undefined;
  #lost: HawserError | undefined;

  /** @param line any byte stream both ways; the link closes it with {@link close} */
  constructor(line: Duplex, options: StationLinkOptions = {}) {
    this.#line = line;
    this.#options = { ...DEFAULTS, ...options };
    line.on("data", (bytes: Uint8Array) => this.#receive(bytes));
    line.on("error", (error: Error) => this.#lose(error.message));
    line.on("close", () => this.#lose("it was closed"));
    line.on("end", () => this.#lose("it ended"));
  }

  /**
   * Has the device do something; requests are made one after the other.
   *
   * @param attempts instead of the link's own
   * @returns the fields of the answer
   * @throws HawserError `DEVICE_SILENT`, `LINE_LOST`, `BAD_ANSWER`, `REQUEST_TOO_LARGE`, and what the device refuses with
   */
  async request(type: string, fields: Answer = {}, attempts = this.#options.attempts): Promise<Answer> {
    const requestId = randomBytes(16).toString("hex");
    const request = Buffer.from(JSON.stringify({ v: PROTOCOL_VERSION, type, requestId, ...fields }));
    try {
      for (let attempt = 0; attempt < attempts; attempt++) {
        this.#transfer = (this.#transfer + 1) & 0xff;
        const answer = await this.#attempt(requestParts(this.#transfer, request), requestId);
        if (answer !== undefined) return accepted(answer);
      }
    } finally {
      // An installation carries the pre-shared key.
      request.fill(0);
    }
    throw new HawserError(
      "DEVICE_SILENT",
      `the device does not answer (${type})`,
      "Check the cable, port and baud rate, and that the device's firmware is waiting for provisioning.",
    );
  }

  close(): void {
    this.#line.destroy();
  }

  async #attempt(parts: readonly RequestPart[], requestId: string): Promise<Answer | undefined> {
    for (const { payload, end, isLast } of parts) {
      const frame = encodeFrame(payload);
      if (isLast) return this.#exchange(frame, (bytes) => answerTo(bytes, requestId), this.#options.answerTimeoutMs);
      let isTaken = false;
      for (let tries = 0; tries < PART_TRIES && !isTaken; tries++) {
        isTaken = (await this.#exchange(frame, (bytes) => acknowledges(bytes, this.#transfer, end), this.#options.ackTimeoutMs)) === true;
      }
      if (!isTaken) return undefined;
    }
    return undefined;
  }

  /** Sends a frame; undefined when nothing that was expected came in time. */
  #exchange<T>(frame: Uint8Array, expected: Expected<T>, timeoutMs: number): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        this.#onPayload = this.#onLost = () => undefined;
        then();
      };
      const timer = setTimeout(() => settle(() => resolve(undefined)), timeoutMs);
      this.#onPayload = (payload) => {
        try {
          const value = expected(payload);
          if (value !== undefined) settle(() => resolve(value));
        } catch (error) {
          settle(() => reject(error as Error));
        }
      };
      this.#onLost = (error) => settle(() => reject(error));
      this.#line.write(frame);
    });
  }

  #receive(bytes: Uint8Array): void {
    for (const frame of this.#frames.feed(bytes)) if ("payload" in frame) this.#onPayload(frame.payload);
  }

  #lose(reason: string): void {
    this.#lost ??= new HawserError(
      "LINE_LOST",
      `the serial line was lost: ${reason}`,
      "Reconnect it and run the same command again. Provisioning resumes where it stopped.",
    );
    this.#onLost(this.#lost);
  }
}

function acknowledges(payload: Uint8Array, transfer: number, end: number): true | undefined {
  return payload.length === 4 && payload[0] === ACK && payload[1] === transfer && payload[2] === end >> 8 && payload[3] === (end & 0xff)
    ? true
    : undefined;
}

/** The answer to this request, or to one that the device could not even read. */
function answerTo(payload: Uint8Array, requestId: string): Answer | undefined {
  if (payload[0] !== ANSWER) return undefined;
  const value = parse(payload.subarray(1));
  if (value === undefined || value["v"] !== PROTOCOL_VERSION) throw badAnswer("is not of version 1 of the protocol");
  const isUnread = value["requestId"] === "" && value["error"] !== undefined;
  return value["requestId"] === requestId || isUnread ? value : undefined;
}

function parse(bytes: Uint8Array): Answer | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @throws HawserError what the device refuses with */
function accepted(answer: Answer): Answer {
  const error = answer["error"];
  if (!isObject(error)) return answer;
  const { code, message } = error;
  if (typeof code !== "string" || !/^[A-Z][A-Z_]{0,39}$/.test(code)) throw badAnswer("refuses without a reason");
  // A newer firmware may have codes that this station does not know.
  throw new DeviceRefusal(
    code as ErrorCode,
    `the device refused: ${String(message).slice(0, 200)}`,
    ADVICE[code] ?? "Run the same command again. If it fails again, check the device's firmware.",
  );
}

const ADVICE: Readonly<Record<string, string>> = {
  ALREADY_PROVISIONED: "Take another device, or erase this one's flash (esptool.py erase_flash) and flash it again.",
  IDENTITY_CORRUPT: "Erase its flash (esptool.py erase_flash) and flash it again; if it comes back, take another device.",
  BAD_CERTIFICATE: "Check the clock of this machine, and the CA.",
  UNSUPPORTED_VERSION: "Use the hawser version that matches the firmware.",
  STORAGE_FAILED: "The device's flash does not work: take another device.",
  STORAGE_FULL: "The device's flash has no room: check the firmware's partitions.",
};

function badAnswer(what: string): HawserError {
  return new HawserError("BAD_ANSWER", `the device's answer ${what}`, "Use the hawser version that matches the firmware.");
}

function isObject(value: unknown): value is Answer {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
