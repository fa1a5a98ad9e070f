/** One client's connection at the broker: what each packet does, and what the client may not do. */
import type { Cancel } from "../../../sdk/platform.js";
import type { ServerHandlers, ServerSocket } from "../network/network.js";
import { Decoder } from "../wire/decode.js";
import { encode } from "../wire/encode.js";
import type { Ack, Connect, FromClient, Publish, Subscribe, ToClient, Unsubscribe, Version } from "../wire/wire-packets.js";
import type { Properties } from "../wire/wire-properties.js";
import { WireError } from "../wire/wire-error.js";
import type { Scope } from "./access.js";
import { Reason, returnCode } from "./broker-settings.js";
import { Deliveries } from "./deliveries.js";
import type { Message } from "./message.js";
import { Receipts } from "./receipts.js";
import type { ServerSession } from "./server-session.js";
import type { VirtualBroker } from "./virtual-broker.js";

/** A connection that never sends CONNECT is closed after this, milliseconds. */
const CONNECT_WITHIN_MS = 30_000;

export class BrokerConnection implements ServerHandlers {
  readonly #decoder = new Decoder();
  #version: Version = 5;
  #clientId = "";
  #session: ServerSession | undefined;
  #deliveries: Deliveries | undefined;
  #receipts: Receipts | undefined;
  #keepAliveMs = CONNECT_WITHIN_MS;
  #cancelKeepAlive: Cancel = () => undefined;
  #readyAtMs = 0;
  /** CONNECT gets no answer, nor does what follows it. */
  #isIgnored = false;
  #over = false;

  constructor(
    private readonly broker: VirtualBroker,
    private readonly socket: ServerSocket,
    readonly scope: Scope,
  ) {
    this.#heard();
  }

  data(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#heard();
    if (this.#session) this.broker.observer.heard(this.scope, this.#clientId);
    const { processingMs } = this.broker.mood;
    if (processingMs === 0 && this.#readyAtMs <= this.broker.time.nowMs) {
      this.#read(bytes);
      return;
    }
    this.#readyAtMs = Math.max(this.#readyAtMs, this.broker.time.nowMs) + processingMs;
    this.broker.time.at(this.#readyAtMs, () => this.#read(bytes));
  }

  ended(): void {
    this.#close();
  }

  /** Sends what the session holds, as far as the client's window allows. */
  pump(): void {
    this.#deliveries?.pump();
  }

  /** The same client connected again elsewhere. */
  takenOver(): void {
    this.disconnect(Reason.sessionTakenOver);
  }

  /** Ends the connection with a reason, which 3.1.1 has no room for. */
  disconnect(reasonCode: number, serverReference?: string): void {
    if (this.#over) return;
    if (this.#version === 5 && this.#session) {
      this.send({ type: "disconnect", reasonCode, properties: serverReference === undefined ? {} : { serverReference } });
    }
    this.socket.close();
    this.#close();
  }

  /** The broker dies: a farewell only if it had time for one. */
  kill(farewell?: number): void {
    if (farewell !== undefined) return this.disconnect(farewell);
    this.socket.reset();
    this.#close();
  }

  send(packet: ToClient): void {
    if (!this.#over) this.socket.write(encode(packet, this.#version));
  }

  sendRaw(bytes: Uint8Array): void {
    if (!this.#over) this.socket.write(bytes);
  }

  #read(bytes: Uint8Array): void {
    if (this.#over) return;
    try {
      for (const { packet, sizeBytes } of this.#decoder.take(bytes)) {
        if (sizeBytes > this.broker.limits.maximumPacketBytes)
          return this.#misbehaved(`a packet of ${sizeBytes} bytes`, Reason.packetTooLarge);
        this.#take(packet);
        if (this.#over) return;
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#misbehaved(error.message, Reason.malformedPacket);
    }
  }

  #take(packet: FromClient): void {
    const first = packet.type === "connect";
    if (this.#isIgnored) return;
    if (first === (this.#session !== undefined))
      return this.#misbehaved(first ? "a second CONNECT" : `${packet.type} before CONNECT`, Reason.protocolError);
    switch (packet.type) {
      case "connect":
        return this.#connect(packet);
      case "publish":
        return this.#publish(packet);
      case "pubrel":
        return this.#pubrel(packet);
      case "puback":
      case "pubrec":
      case "pubcomp":
        return this.#deliveries?.acknowledged(packet);
      case "subscribe":
        return this.#subscribe(packet);
      case "unsubscribe":
        return this.#unsubscribe(packet);
      case "pingreq":
        return this.send({ type: "pingresp" });
      case "disconnect":
        if (packet.reasonCode !== 0x04 && this.#session) this.#session.will = undefined;
        if (packet.properties.sessionExpiryInterval !== undefined && this.#session)
          this.#session.expiryMs = packet.properties.sessionExpiryInterval * 1_000;
        this.socket.close();
        return this.#close();
      default:
        return this.#misbehaved(`${packet.type} which nobody asked for`, Reason.protocolError);
    }
  }

  #connect(packet: Connect): void {
    const { mood, limits, observer } = this.broker;
    this.#version = packet.version;
    this.#clientId = packet.clientId;
    if (mood.silent) {
      this.#isIgnored = true;
      return;
    }
    const verdict = mood.refusal ?? (this.scope.kind === "mtls" ? mood.refusalOverMtls : undefined);
    const refusal = limits.versions.includes(packet.version) ? verdict : Reason.unsupportedVersion;
    if (refusal !== undefined) return this.#refuse(refusal);
    const { access } = this.broker;
    if (access.isRevoked(this.scope) || !access.mayBe(this.scope, packet.clientId)) return this.#refuse(Reason.notAuthorized);
    const { session, present } = this.broker.openSession(packet, this);
    this.#session = session;
    session.will = packet.will;
    this.#receipts = new Receipts(session, limits, packet.version, (what, reason) => this.#misbehaved(what, reason));
    this.#deliveries = new Deliveries(
      this.broker,
      session,
      packet,
      (sent) => this.send(sent),
      (what) => observer.misbehaved(packet.clientId, what),
    );
    const keepAliveSeconds =
      limits.serverKeepAliveSeconds > 0 && packet.version === 5 ? limits.serverKeepAliveSeconds : packet.keepAliveSeconds;
    this.#keepAliveMs = keepAliveSeconds * 1_500;
    this.#heard();
    this.send({ type: "connack", sessionPresent: present, reasonCode: 0, properties: packet.version === 5 ? this.#offer(packet) : {} });
    observer.accepted(this.scope, packet.clientId, present);
    if (mood.dropsAfterConnack) {
      this.socket.close();
      return this.#close();
    }
    this.#deliveries.resume();
  }

  #offer(packet: Connect): Properties {
    const { limits } = this.broker;
    const offered: Properties = { receiveMaximum: limits.receiveMaximum, maximumPacketSize: limits.maximumPacketBytes };
    if (limits.topicAliasMaximum > 0) offered.topicAliasMaximum = limits.topicAliasMaximum;
    if (limits.maximumQos < 2) offered.maximumQos = limits.maximumQos;
    if (limits.serverKeepAliveSeconds > 0) offered.serverKeepAlive = limits.serverKeepAliveSeconds;
    if (packet.clientId === "") offered.assignedClientIdentifier = "assigned";
    return offered;
  }

  #refuse(reasonCode: number): void {
    const { serverReference } = this.broker.mood;
    const properties = serverReference === undefined ? {} : { serverReference };
    this.send({
      type: "connack",
      sessionPresent: false,
      reasonCode: this.#version === 5 ? reasonCode : returnCode(reasonCode),
      properties,
    });
    this.socket.close();
    this.#close();
  }

  #publish(packet: Publish): void {
    const { broker } = this;
    const topic = this.#receipts?.resolveAlias(packet);
    if (topic === undefined || !this.#receipts) return;
    if (broker.poison.has(topic)) return this.#hangUp(topic, packet);
    const refusal = broker.access.mayPublish(this.scope, topic) ? broker.mood.publishRefusal : Reason.notAuthorized;
    const message: Message = {
      topic,
      payload: packet.payload,
      qos: packet.qos,
      retain: packet.retain,
      properties: withoutAlias(packet.properties),
      atMs: broker.time.nowMs,
    };
    const verdict = this.#receipts.receive(packet, message);
    if (verdict === "misbehaved") return;
    // 3.1.1 has no way to tell: it acknowledges and drops. In 5.0 a refused QoS 2 message ends with its PUBREC.
    if (refusal !== undefined) {
      this.#receipts.refused(packet);
      broker.observer.refused(this.scope, message, this.#version === 5);
    } else if (verdict === "new" && (packet.qos < 2 || broker.limits.qos2PassedOn === "at-publish")) {
      this.#passOn(message);
    }
    const reasonCode = refusal !== undefined && this.#version === 5 ? refusal : 0;
    if (packet.qos === 1) this.send({ type: "puback", id: packet.id, reasonCode, properties: {} });
    if (packet.qos === 2) this.send({ type: "pubrec", id: packet.id, reasonCode, properties: {} });
    this.#receipts.answered(packet);
  }

  #passOn(message: Message): void {
    this.broker.observer.arrived(this.#clientId, message);
    this.broker.route(this.#clientId, message);
  }

  /** An item that this broker ends connections for, without a word. */
  #hangUp(item: string, packet?: Publish): void {
    const { broker, scope } = this;
    if (packet)
      broker.observer.refused(
        scope,
        { topic: item, payload: packet.payload, qos: packet.qos, retain: packet.retain, properties: {}, atMs: broker.time.nowMs },
        false,
      );
    broker.observer.hungUp(scope, item);
    this.socket.close();
    this.#close();
  }

  #pubrel(packet: Ack): void {
    const known =
      this.#receipts?.release(packet.id, (message) => this.broker.limits.qos2PassedOn === "at-pubrel" && this.#passOn(message)) === true;
    this.send({ type: "pubcomp", id: packet.id, reasonCode: known || this.#version === 4 ? 0 : Reason.packetIdNotFound, properties: {} });
  }

  #subscribe(packet: Subscribe): void {
    const { broker } = this;
    const poison = packet.subscriptions.find(({ filter }) => broker.poison.has(filter));
    if (poison) return this.#hangUp(poison.filter);
    const identifier = packet.properties.subscriptionIdentifiers?.[0];
    const reasonCodes = packet.subscriptions.map((wanted) => {
      if (!broker.access.maySubscribe(this.scope, wanted.filter)) return this.#version === 5 ? Reason.notAuthorized : 0x80;
      this.#session?.subscriptions.set(wanted.filter, { ...wanted, identifier });
      broker.observer.granted(this.scope, this.#clientId, wanted.filter);
      return wanted.qos;
    });
    this.send({ type: "suback", id: packet.id, reasonCodes, properties: {} });
  }

  #unsubscribe(packet: Unsubscribe): void {
    const reasonCodes = packet.filters.map((filter) => (this.#session?.subscriptions.delete(filter) ? 0 : Reason.noSubscriptionExisted));
    this.send({ type: "unsuback", id: packet.id, reasonCodes, properties: {} });
  }

  #misbehaved(what: string, reasonCode: number): void {
    this.broker.observer.misbehaved(this.#clientId, what);
    this.disconnect(reasonCode);
  }

  /** The client gave a sign of life. */
  #heard(): void {
    this.#cancelKeepAlive();
    if (this.#keepAliveMs > 0) this.#cancelKeepAlive = this.broker.time.after(this.#keepAliveMs, () => this.#starved());
  }

  #starved(): void {
    if (this.#session) this.broker.observer.silent(this.#clientId);
    this.disconnect(Reason.keepAliveTimeout);
  }

  #close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelKeepAlive();
    this.broker.closed(this, this.#session);
  }
}

function withoutAlias(properties: Properties): Properties {
  const { topicAlias: _alias, ...rest } = properties;
  return rest;
}
