/** The questions that aedes asks before it publishes, subscribes and delivers, answered from the broker's material. */
import type { AedesOptions, AedesPublishPacket, Client } from "aedes";
import { effectiveQos, subscriptionState } from "./aedes-client.js";
import type { BrokerEvent, BrokerMaterial, QuestionDetails, Who } from "./broker-events.js";
import type { GuardedConnection } from "./guarded-connection.js";
import { SESSION_MARK, SINK_TOPIC, type SessionStore } from "./session-store.js";

/** A client that aedes knows, with what the front of the broker knows of it. */
export interface LiveClient {
  readonly who: Who;
  readonly clientId: string;
  readonly connection: GuardedConnection;
  /** The message that was delivered last: aedes offers one copy for each subscription that matches. */
  lastDelivered: string;
}

export interface RulesContext {
  material(): BrokerMaterial;
  liveClient(client: Client | null): LiveClient | undefined;
  maxSubscriptions: number;
  store: SessionStore;
  /** True once the broker goes down: what closing clients would still say (their wills) is unheard, as when the process had died. */
  isStopping(): boolean;
  emit(event: BrokerEvent): void;
}

type Rules = Required<Pick<AedesOptions, "authorizePublish" | "authorizeSubscribe" | "authorizeForward">>;

export function accessRules(context: RulesContext): Rules {
  return {
    authorizePublish: (client, packet, callback) => {
      const live = context.liveClient(client);
      if (live === undefined || packet.topic.includes("\0")) {
        callback(new Error("publish by no client, or to no topic"));
        return;
      }
      const isUnheard = context.isStopping() && client?.closed === true;
      const isAllowed =
        !isUnheard &&
        context.material().authorize(live.who, "publish", packet.topic, {
          ...detailsOf(live, packet),
          will: isWill(client, packet),
        });
      if (!isAllowed) {
        if (!isUnheard) emitDenied(context, live, "publish", packet.topic);
        // Acknowledged and dropped, as mosquitto does: 3.1.1 has no negative PUBACK, and an error here would make aedes close the
        // connection.
        packet.topic = SINK_TOPIC;
        packet.payload = Buffer.alloc(0);
      }
      if (packet.retain && !(context.material().mayRetain?.(live.who) ?? true)) {
        context.emit({ type: "dropped", clientId: live.clientId, topic: packet.topic.slice(0, 256), reason: "RETAIN_NOT_ALLOWED" });
        packet.retain = false;
      }
      callback(null);
    },
    authorizeSubscribe: (client, subscription, callback) => {
      const live = context.liveClient(client);
      const isAllowed = live !== undefined && maySubscribe(context, client, live, subscription.topic);
      if (!isAllowed && live !== undefined && subscription.topic !== SESSION_MARK)
        emitDenied(context, live, "subscribe", subscription.topic);
      // No subscription makes aedes answer 0x80.
      callback(null, isAllowed ? subscription : null);
    },
    authorizeForward: (client, packet) => {
      const live = context.liveClient(client);
      return live === undefined ? null : forwarded(context, client, live, packet);
    },
  };
}

function detailsOf(live: LiveClient, { qos, retain, payload }: Pick<AedesPublishPacket, "qos" | "retain" | "payload">): QuestionDetails {
  return { ...addressOf(live), qos, retain, payloadBytes: Buffer.byteLength(payload) };
}

/** Aedes asks about a will with the very packet that it keeps for the client. */
function isWill(client: Client | null, packet: object): boolean {
  return client !== null && "will" in client && client.will === packet;
}

function addressOf({ connection: { remoteAddress } }: LiveClient): QuestionDetails {
  return remoteAddress === undefined ? {} : { address: remoteAddress };
}

/** Shared subscriptions are refused: aedes would take `$share/...` for an ordinary topic and nothing would ever come. */
export function maySubscribe(context: RulesContext, client: Client, live: LiveClient, filter: string): boolean {
  if (filter === SESSION_MARK || filter === SINK_TOPIC || filter.startsWith("$share/") || filter.includes("\0")) return false;
  const { isHeld, count } = subscriptionState(client, filter);
  if (!isHeld && count >= context.maxSubscriptions) return false;
  return context.material().authorize(live.who, "subscribe", filter, addressOf(live));
}

/** The message in the form in which this client may have it now, or null. */
function forwarded(context: RulesContext, client: Client, live: LiveClient, packet: AedesPublishPacket): AedesPublishPacket | null {
  if (packet.topic === SINK_TOPIC || live.connection.destroyed) return null;
  // A replayed message has its packet identifier already, a live one not.
  const isLive = packet.messageId === undefined;
  if (isLive && isRepeated(live, packet)) return null;
  if (!context.material().authorize(live.who, "subscribe", packet.topic, addressOf(live))) return null;
  if (isLive && context.store.waitsInReplay(live.clientId, packet)) return null;
  // What is retained has its own bound.
  const isRetained = !packet.brokerId;
  if (isLive && !isRetained && live.connection.writableNeedDrain) return tooSlow(context, live, packet);
  packet.qos = effectiveQos(client, packet);
  return packet;
}

function isRepeated(live: LiveClient, packet: AedesPublishPacket): boolean {
  // Retained messages, sent for one subscription, come without a broker id.
  if (!packet.brokerId) return false;
  const message = `${packet.brokerId}:${packet.brokerCounter}`;
  const isSame = live.lastDelivered === message;
  live.lastDelivered = message;
  return isSame;
}

/** One reader that does not read must not make the others wait. What is queued for it stays queued. */
function tooSlow(context: RulesContext, live: LiveClient, packet: AedesPublishPacket): null {
  if (packet.qos > 0) live.connection.cut("SLOW_CONSUMER");
  else context.emit({ type: "dropped", clientId: live.clientId, topic: packet.topic, reason: "SLOW_CONSUMER" });
  return null;
}

function emitDenied(context: RulesContext, live: LiveClient, action: "publish" | "subscribe", topic: string): void {
  context.emit({ type: "denied", ...live.who, clientId: live.clientId, action, topic: topic.slice(0, 256) });
}
