/**
 * One connection to a broker, from the dialled link to its one end: the handshake, the packets both ways, the keep-alive. The session that
 * outlives it is the client's.
 */
import { failure, type Failure } from "../../failure.js";
import { errorMessage, HawserError } from "../../errors.js";
import type { Cancel, Link, LinkHandlers, LinkInfo, Scheduler } from "../../platform.js";
import { disconnectBlame, linkBlame, type Blame } from "../contract/blame.js";
import { Authentication } from "./enhanced-authentication.js";
import { connectPacket } from "./connect-request.js";
import { FrameReader, type FrameReaderOwner } from "../codec/frame-reader.js";
import { KeepAlive, type KeepAliveOwner } from "./keep-alive.js";
import type { DisconnectOptions, ResolvedOptions } from "../contract/options.js";
import { Output, type OutputOwner } from "./link-output.js";
import { PacketError, protocolError } from "../codec/packet-error.js";
import type {
  ConnackPacket,
  DisconnectPacket,
  InboundPacket,
  OutboundPacket,
  Properties,
  ProtocolVersion,
  PublishPacket,
} from "../codec/packet-types.js";
import { checkUserProperties } from "../contract/check-properties.js";
import { propertiesSize } from "../codec/properties.js";
import { writePacket } from "../codec/packet-encoder.js";
import { connackFailure, disconnectFailure } from "../contract/reason-codes.js";
import { IncomingAliases } from "./topic-aliases.js";

/** Whom a connection works for. */
export interface ConnectionOwner {
  readonly counts: { bytesSent: number; bytesReceived: number };
  /** CONNECT is written: what may go in the same flight is to follow. */
  opened(connection: Connection): void;
  /** CONNACK with success: packets may be sent from now on. */
  established(connack: ConnackPacket): void;
  /** A packet of an established connection; CONNACK, AUTH, PINGRESP and DISCONNECT are not reported. Throws PacketError. */
  packet(packet: InboundPacket): void;
  /** A PUBLISH of an established connection was too large; it has no payload any more. Throws PacketError. */
  oversized(packet: PublishPacket, sizeBytes: number): void;
  /** The link takes messages again. */
  writable(): void;
  /** The broker answered PINGREQ. */
  alive(): void;
  /** Bytes are about to go out: what must be durable before is made so now. */
  beforeFlush(): void;
  /** The one end; `wasEstablished` says of what. Nothing comes after. */
  ended(failure: Failure, wasEstablished: boolean): void;
  /** What has been waiting for an answer of the broker for longest, by identity. */
  readonly oldestUnanswered: object | undefined;
  /** The application has so much to take that no more should be read. */
  readonly isFull: boolean;
  /** Reading goes on all the same: messages are to be left with the broker. */
  skim(): void;
}

/** DISCONNECT, whose will the broker shall publish (MQTT 5.0, table 3-10). */
const WITH_WILL = 0x04;
const DISCONNECT_HEAD_BYTES = 9;
/** The smallest limit with which a connection can be held: an acknowledgement with a reason code. */
const SMALLEST_LIMIT_BYTES = 5;

/** While nothing is read, it is looked so often whether something else is waited for. */
const PAUSE_LOOK_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/** A link that was told to close is given up after this. */
const CLOSE_TIMEOUT_MS = 5_000;

export class Connection implements FrameReaderOwner, OutputOwner, KeepAliveOwner {
  readonly version: ProtocolVersion;
  #state: "dialing" | "connecting" | "established" | "closing" | "ended" = "dialing";
  #wasEstablished = false;
  #isUnanswered = false;
  #blame: Blame = "none";
  /** What the broker takes; its CONNACK says (5.0). */
  #largestBytes = Infinity;
  #link: Link | undefined;
  /** What the handshake of TLS settled. */
  info: LinkInfo | undefined;
  readonly #reader: FrameReader;
  readonly #output: Output;
  readonly #keepAlive: KeepAlive;
  readonly #aliases: IncomingAliases;
  readonly #authentication: Authentication | undefined;
  /** The timer of the moment: CONNACK, or the link's end. */
  #cancelTimer: Cancel | undefined;
  #cancelPause: Cancel | undefined;

  constructor(
    readonly options: ResolvedOptions,
    private readonly clientId: string,
    private readonly scheduler: Scheduler,
    private readonly owner: ConnectionOwner,
  ) {
    this.version = options.protocolVersion;
    this.#reader = new FrameReader(this.version, options.maximumPacketSizeBytes, this);
    this.#output = new Output(this);
    this.#keepAlive = new KeepAlive(scheduler, this);
    this.#aliases = new IncomingAliases(this.version === 5 ? options.topicAliasMaximum : 0);
    if (this.version === 5 && options.authentication !== undefined) {
      this.#authentication = new Authentication(
        options.authentication,
        (packet) => this.send(packet),
        (reason) => this.#authenticationFailed(reason),
      );
    }
  }

  /** Opens the link. Call once. */
  start(dial: (handlers: LinkHandlers) => Link): void {
    try {
      this.#link = dial(this.#handlers());
    } catch (error) {
      this.#fail(failure("CONNECTION_RESET", `the link could not be opened: ${errorMessage(error)}`));
    }
  }

  /** As own properties, so that who dials may wrap them. */
  #handlers(): LinkHandlers {
    return {
      opened: (info) => {
        this.info = info;
        this.#opened();
      },
      data: (bytes) => this.#data(bytes),
      drain: () => {
        this.#keepAlive.drained();
        this.#output.drained();
        if (this.isWritable) this.owner.writable();
      },
      ended: (reason) => {
        if (this.isEstablished) this.#blame = linkBlame(reason);
        this.#end(reason);
      },
    };
  }

  get isEstablished(): boolean {
    return this.#state === "established";
  }

  /** CONNECT went out and the broker's answer is not known: it may have begun a session of which nothing is known here. */
  get isUnanswered(): boolean {
    return this.#isUnanswered && !this.#wasEstablished;
  }

  /** What the connection ended for, as far as it may be something that was sent. */
  get blame(): Blame {
    return this.#blame;
  }

  /** It ends or has ended: nothing more is sent or taken. */
  get isOver(): boolean {
    return this.#state === "ended" || this.#state === "closing";
  }

  /** False before CONNACK and while the link has enough: then only what the protocol owes is sent. */
  get isWritable(): boolean {
    return this.#state === "established" && this.#output.isWritable;
  }

  /** Where messages and acknowledgements are written; {@link wrote} has to be called after. */
  get writer(): Output["writer"] {
    return this.#output.writer;
  }

  wrote(): void {
    this.#output.touched();
  }

  /** @throws HawserError `PACKET_TOO_LARGE` where the broker does not take so large a packet; nothing is sent then */
  send(packet: OutboundPacket): void {
    if (this.isOver) return;
    const { writer } = this.#output;
    const before = writer.sizeBytes;
    writePacket(writer, packet, this.version);
    const sizeBytes = writer.sizeBytes - before;
    if (sizeBytes > this.#largestBytes) {
      writer.rewind(before);
      throw new HawserError(
        "PACKET_TOO_LARGE",
        `the packet has ${sizeBytes} bytes; the broker accepts at most ${this.#largestBytes}`,
        "Use a shorter filter or fewer properties.",
      );
    }
    this.#output.touched();
  }

  /** Ends the connection in an orderly way; `ended` follows with `CLOSED_LOCALLY`. */
  disconnect(options: DisconnectOptions): void {
    if (this.isOver) return;
    // In 3.1.1 DISCONNECT discards the will: who wants it published leaves without.
    if (this.isEstablished && (this.version === 5 || options.reasonCode !== WITH_WILL)) this.#sayGoodbye(this.#disconnectPacket(options));
    this.#output.close();
    // A link that does not take these bytes has ended the connection.
    if (this.isOver) return;
    const mayReturn = this.isEstablished;
    this.#state = "closing";
    this.#reader.stop();
    this.#keepAlive.stop();
    const reason = failure("CLOSED_LOCALLY", "this client disconnected");
    this.#setTimer(CLOSE_TIMEOUT_MS, () => this.#end(reason));
    this.#close(this.#link, mayReturn);
  }

  /** The broker comes to a halt, by TCP: else it could fill this side's memory. */
  #pause(): void {
    const link = this.#link;
    if (this.#reader.isPaused || this.isOver) return;
    if (link?.pause === undefined || link.resume === undefined) return this.owner.skim();
    this.#reader.pause();
    this.#keepAlive.isDeaf = true;
    link.pause();
    this.#lookAtPause(PAUSE_LOOK_MS);
  }

  /**
   * An application that waits for the broker's answer to what it publishes takes nothing before that; nor must a device's upkeep wait for
   * it.
   */
  #lookAtPause(pausedForMs: number): void {
    this.#cancelPause = this.scheduler.after(PAUSE_LOOK_MS, () => {
      if (this.owner.oldestUnanswered === undefined && pausedForMs < LONGEST_PAUSE_MS)
        return this.#lookAtPause(pausedForMs + PAUSE_LOOK_MS);
      this.owner.skim();
      this.#resume();
    });
  }

  /**
   * The application has taken enough. @param left how many messages were left with the broker: it repeats them on the next connection only
   */
  roomAgain(left: number): void {
    if (left === 0) return this.#resume();
    if (!this.isEstablished) return;
    this.#sayGoodbye({ cmd: "disconnect", reasonCode: 0 });
    this.#output.close();
    this.#fail(failure("CLOSED_LOCALLY", `this client reconnects to receive messages it had no room for (${left})`));
  }

  #resume(): void {
    if (!this.#reader.isPaused || this.isOver) return;
    this.#cancelPause?.();
    this.#keepAlive.isDeaf = false;
    try {
      this.#reader.resume();
    } catch (error) {
      return this.#broken(error);
    }
    if (!this.#reader.isPaused) this.#link?.resume?.();
  }

  /** Ends the connection at once, without a DISCONNECT: the broker publishes the will. */
  abort(reason: Failure): void {
    this.#fail(reason);
  }

  /** Begins a new exchange of enhanced authentication (MQTT 5.0, section 4.12.1). Settles with the broker's answer. */
  reauthenticate(): Promise<void> {
    if (this.#authentication === undefined || !this.isEstablished) {
      return Promise.reject(new HawserError("NOT_CONNECTED", "no connection with enhanced authentication", "Wait for one."));
    }
    return this.#authentication.restart();
  }

  #opened(): void {
    if (this.#state !== "dialing") return;
    this.#state = "connecting";
    this.#isUnanswered = true;
    const { connackTimeoutMs } = this.options;
    this.#setTimer(connackTimeoutMs, () => this.#fail(failure("CONNECT_TIMEOUT", `no CONNACK within ${connackTimeoutMs} ms`)));
    try {
      this.send(connectPacket(this.options, this.clientId, this.#authentication?.start()));
      this.owner.opened(this);
      this.#output.flush();
    } catch (error) {
      this.#fail(failure("PROTOCOL_ERROR", `cannot send CONNECT: ${errorMessage(error)}`));
    }
  }

  #data(bytes: Uint8Array): void {
    if (this.isOver) return;
    this.owner.counts.bytesReceived += bytes.length;
    this.#keepAlive.received();
    try {
      this.#reader.feed(bytes);
    } catch (error) {
      this.#broken(error);
    }
  }

  // What the parts of the connection tell.

  packet(packet: InboundPacket): void {
    if (this.#state === "connecting") return this.#handshake(packet);
    switch (packet.cmd) {
      case "publish":
        this.#aliases.resolve(packet);
        this.owner.packet(packet);
        if (this.owner.isFull) this.#pause();
        return;
      case "pingresp":
        this.#keepAlive.answered();
        return this.owner.alive();
      case "disconnect":
        this.#blame = disconnectBlame(packet.reasonCode);
        return this.#fail(disconnectFailure(packet.reasonCode, packet.properties));
      case "auth":
        if (this.#authentication === undefined) throw protocolError("AUTH without enhanced authentication");
        return this.#authentication.received(packet);
      case "connack":
        throw protocolError("a second CONNACK");
      default:
        return this.owner.packet(packet);
    }
  }

  oversized(packet: PublishPacket, sizeBytes: number): void {
    if (this.#state === "connecting") throw protocolError("PUBLISH before CONNACK");
    this.#aliases.resolve(packet);
    this.owner.oversized(packet, sizeBytes);
  }

  writeToLink(bytes: Uint8Array): boolean {
    this.owner.counts.bytesSent += bytes.length;
    this.#keepAlive.sent(bytes.length);
    try {
      return this.#link?.write(bytes) ?? false;
    } catch (error) {
      this.#fail(failure("CONNECTION_RESET", `the link accepts no bytes: ${errorMessage(error)}`));
      return false;
    }
  }

  beforeFlush(): void {
    this.owner.beforeFlush();
  }

  ping(): void {
    this.send({ cmd: "pingreq" });
  }

  expired(what: string, blame: Blame): void {
    this.#blame = blame;
    this.#fail(failure("KEEPALIVE_TIMEOUT", `the broker did not answer ${what}`));
  }

  get oldestUnanswered(): object | undefined {
    return this.owner.oldestUnanswered;
  }

  #handshake(packet: InboundPacket): void {
    if (packet.cmd === "auth" && this.#authentication !== undefined) return this.#authentication.received(packet);
    if (packet.cmd !== "connack") throw protocolError(`${packet.cmd.toUpperCase()} before CONNACK`);
    const { reasonCode, sessionPresent, properties = {} } = packet;
    this.#isUnanswered = reasonCode === 0;
    if (reasonCode !== 0) return this.#fail(connackFailure(reasonCode, this.version, packet.legacyForm, properties));
    const { maximumPacketSize: largestBytes = Infinity } = properties;
    if (largestBytes < SMALLEST_LIMIT_BYTES) {
      return this.#fail(
        failure("CAPABILITY_NOT_SUPPORTED", `the broker accepts packets of at most ${largestBytes} bytes, too few to connect`),
      );
    }
    if (sessionPresent && this.options.cleanStart) throw protocolError("CONNACK with an old session after a clean start");
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#authentication?.finished(properties);
    if (this.#state !== "connecting") return;
    this.#state = "established";
    this.#wasEstablished = true;
    this.#largestBytes = largestBytes;
    this.#keepAlive.start(this.options.keepAliveSeconds, properties.serverKeepAlive ?? 0, this.options.ackTimeoutMs);
    this.owner.established(packet);
  }

  #broken(error: unknown): void {
    const problem =
      error instanceof PacketError
        ? error
        : new PacketError("PROTOCOL_ERROR", 0x83, `a packet could not be handled: ${errorMessage(error)}`);
    // In 3.1.1 DISCONNECT has no reason and would discard the will: there the link is closed without.
    if (this.isEstablished && this.version === 5) this.#sayGoodbye({ cmd: "disconnect", reasonCode: problem.reasonCode });
    this.#output.close();
    this.#fail(failure(problem.failureCode, problem.message, { reasonCode: problem.reasonCode }));
  }

  /** Nothing may follow it (section 3.14.4): what storage still has to say, an acknowledgement perhaps, goes before. */
  #sayGoodbye(packet: DisconnectPacket): void {
    this.owner.beforeFlush();
    this.send(packet);
  }

  #authenticationFailed(reason: string): void {
    // Of all the reasons a client may give, none says it better than "unspecified".
    if (this.isEstablished) this.#sayGoodbye({ cmd: "disconnect", reasonCode: 0x80 });
    this.#output.close();
    this.#fail(failure("BAD_AUTHENTICATION_METHOD", reason));
  }

  /** Ends for a reason found on this side. The link's own end is not waited for: a dead one may never tell. */
  #fail(reason: Failure): void {
    if (this.isOver) return;
    this.#output.discard();
    const link = this.#link;
    this.#end(reason);
    this.#close(link);
  }

  #end(reason: Failure): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#reader.stop();
    this.#output.discard();
    this.#keepAlive.stop();
    this.#cancelPause?.();
    this.#cancelTimer?.();
    this.#authentication?.ended();
    this.#link = undefined;
    this.owner.ended(reason, this.#wasEstablished);
  }

  /** A link that cannot even be closed is gone; the timer or the end already told says so. */
  #close(link: Link | undefined, mayReturn?: boolean): void {
    try {
      link?.close(mayReturn);
    } catch {
      return;
    }
  }

  #setTimer(delayMs: number, run: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.scheduler.after(delayMs, run);
  }

  /** Its words are left out where the broker takes no packet so large (MQTT 5.0, section 3.14.2.2). */
  #disconnectPacket({ reasonCode = 0, sessionExpirySeconds, reasonString, userProperties }: DisconnectOptions): DisconnectPacket {
    const needed: Properties = sessionExpirySeconds === undefined ? {} : { sessionExpiryInterval: sessionExpirySeconds };
    const properties: Properties = {
      ...needed,
      ...(reasonString !== undefined && { reasonString }),
      ...(userProperties !== undefined && { userProperties: checkUserProperties(userProperties) }),
    };
    // The fixed header, the reason code and the length of the properties.
    const fits = DISCONNECT_HEAD_BYTES + propertiesSize(properties) <= this.#largestBytes;
    return { cmd: "disconnect", reasonCode, properties: fits ? properties : needed };
  }
}
