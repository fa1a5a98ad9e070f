/**
 * MQTT over WebSocket (MQTT 5.0, section 6; RFC 6455) as one more {@link Link}: over any link that carries bytes, so that TLS, keys and
 * failures are those of the link below. For firewalls that let through nothing but HTTPS, and for brokers that listen nowhere else.
 */
import { createHash, randomBytes } from "node:crypto";
import { failure, type Failure } from "../../sdk/failure.js";
import type { Link, LinkHandlers, LinkInfo } from "../../sdk/platform.js";
import { LONGEST_TIMEOUT_MS } from "./node-scheduler.js";
import { frame, FrameError, FrameReader, Opcode } from "./web-socket-frames.js";

export interface WebSocketTarget {
  /** `host:port`, as the request and messages name it. */
  readonly authority: string;
  /** Begins with a slash; a query may follow. */
  readonly path: string;
  /** Milliseconds for the link below and the handshake together. */
  readonly timeoutMs: number;
}

/** RFC 6455, section 1.3. */
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const LONGEST_ANSWER_BYTES = 16_384;
const NORMAL_CLOSURE = 1_000;
const HEAD_END = "\r\n\r\n";

export class WebSocketLink implements Link {
  readonly #below: Link;
  readonly #key = randomBytes(16).toString("base64");
  readonly #reader = new FrameReader({
    data: (bytes) => {
      if (this.#stage === "open") this.handlers.data(bytes);
    },
    control: (opcode, payload) => this.#control(opcode, payload),
  });
  #stage: "connecting" | "asking" | "open" | "closing" | "ended" = "connecting";
  #info: LinkInfo | undefined;
  #answer = Buffer.alloc(0);
  /** Why this side closed the link below, where its owner did not ask for it. */
  #reason: Failure | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param dial the link below */
  constructor(
    dial: (handlers: LinkHandlers) => Link,
    private readonly target: WebSocketTarget,
    private readonly handlers: LinkHandlers,
  ) {
    this.#timer = setTimeout(() => this.#late(), Math.min(target.timeoutMs, LONGEST_TIMEOUT_MS));
    this.#below = dial({
      opened: (info) => this.#ask(info),
      data: (bytes) => this.#received(bytes),
      drain: () => {
        if (this.#stage === "open") handlers.drain();
      },
      ended: (reason) => this.#ended(reason),
    });
  }

  write(bytes: Uint8Array): boolean {
    return this.#stage === "open" && this.#below.write(frame(Opcode.binary, bytes));
  }

  pause(): void {
    this.#below.pause?.();
  }

  resume(): void {
    this.#below.resume?.();
  }

  close(): void {
    if (this.#stage === "open") this.#below.write(frame(Opcode.close, closing(NORMAL_CLOSURE)));
    if (this.#stage !== "ended") this.#stage = "closing";
    this.#below.close();
  }

  #ask(info: LinkInfo): void {
    if (this.#stage !== "connecting") return;
    this.#stage = "asking";
    this.#info = info;
    const lines = [
      `GET ${this.target.path} HTTP/1.1`,
      `Host: ${this.target.authority}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Key: ${this.#key}`,
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: mqtt",
    ];
    this.#below.write(Buffer.from(`${lines.join("\r\n")}${HEAD_END}`));
  }

  #received(bytes: Uint8Array): void {
    if (this.#stage === "open") return this.#read(bytes);
    if (this.#stage !== "asking") return;
    // A copy: bytes are this side's only until it returns.
    this.#answer = Buffer.concat([this.#answer, bytes]);
    const end = this.#answer.indexOf(HEAD_END);
    if (end < 0) {
      if (this.#answer.length > LONGEST_ANSWER_BYTES) this.#refuse("sent more than 16 KiB without an end");
      return;
    }
    const problem = this.#problem(this.#answer.subarray(0, end).toString("latin1"));
    const rest = this.#answer.subarray(end + HEAD_END.length);
    this.#answer = Buffer.alloc(0);
    if (problem !== undefined) return this.#refuse(problem);
    this.#stage = "open";
    clearTimeout(this.#timer);
    this.handlers.opened(this.#info as LinkInfo);
    if (rest.length > 0) this.#read(rest);
  }

  /** What is wrong with the answer to the handshake (RFC 6455, section 4.1; MQTT 5.0, section 6). */
  #problem(head: string): string | undefined {
    const [first = "", ...lines] = head.split("\r\n");
    const [, status = ""] = /^HTTP\/1\.1 (\d{3})/.exec(first) ?? [];
    if (status === "") return "answered with something that is not HTTP";
    if (status !== "101") return `answered with status ${status}`;
    const values = new Map(lines.map((line) => [line.split(":", 1)[0]?.trim().toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    const accept = createHash("sha1").update(`${this.#key}${ACCEPT_GUID}`).digest("base64");
    if (values.get("upgrade")?.toLowerCase() !== "websocket" || values.get("sec-websocket-accept") !== accept)
      return "answered without accepting the upgrade";
    if (values.get("sec-websocket-protocol") !== "mqtt") return "does not speak the subprotocol mqtt";
    return values.has("sec-websocket-extensions") ? "chose an extension that was not offered" : undefined;
  }

  #read(bytes: Uint8Array): void {
    try {
      this.#reader.read(bytes);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#end(failure("PROTOCOL_ERROR", `${this.target.authority} broke the WebSocket protocol: ${error.message}`), error.status);
    }
  }

  #control(opcode: number, payload: Uint8Array): void {
    if (this.#stage !== "open") return;
    if (opcode === Opcode.ping) this.#below.write(frame(Opcode.pong, payload));
    if (opcode !== Opcode.close) return;
    const status = payload.length < 2 ? "without a status" : `with status ${((payload[0] as number) << 8) | (payload[1] as number)}`;
    this.#end(failure("CONNECTION_CLOSED", `${this.target.authority} closed the WebSocket ${status}`), NORMAL_CLOSURE);
  }

  #late(): void {
    if (this.#stage === "asking")
      this.#end(failure("CONNECT_TIMEOUT", `no WebSocket with ${this.target.authority} within ${this.target.timeoutMs} ms`));
  }

  /** A network fault: an answer without MQTT says nothing about a credential. */
  #refuse(what: string): void {
    this.#end(failure("CONNECTION_REFUSED", `${this.target.authority}${this.target.path} ${what}: check the path of the WebSocket`));
  }

  #end(reason: Failure, status?: number): void {
    if (this.#stage === "closing" || this.#stage === "ended") return;
    if (status !== undefined) this.#below.write(frame(Opcode.close, closing(status)));
    this.#reason = reason;
    this.#stage = "closing";
    this.#below.close();
  }

  #ended(reason: Failure): void {
    if (this.#stage === "ended") return;
    this.#stage = "ended";
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.handlers.ended(this.#reason ?? reason);
  }
}

function closing(status: number): Uint8Array {
  return Uint8Array.of(status >> 8, status & 0xff);
}
