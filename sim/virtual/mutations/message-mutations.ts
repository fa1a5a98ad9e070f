/** Deliberate faults in the MQTT session: acknowledgements, retransmission, identifiers, outbox, storage. */
import type { Mutation, WorldStage } from "./mutation.js";

/** Connections break all the time and both sides have much to say. */
const BUSY: WorldStage = {
  kind: "world",
  faults: ["reset", "flapping", "half-open", "broker-restart"],
  traits: { device: { publishEveryMs: 10_000, commandEveryMs: 20_000 } },
};
const BUSY_5: WorldStage = {
  ...BUSY,
  traits: {
    world: { limits: { versions: [4, 5], topicAliasMaximum: 10, receiveMaximum: 3 } },
    device: { ...BUSY.traits?.device, protocolVersion: 5 },
  },
};
/** More messages than there are packet identifiers, in half an hour. */
const FLOOD: WorldStage = {
  kind: "world",
  faults: [],
  days: 0.02,
  backOnlineBoundMs: 60_000,
  traits: {
    world: { lifetimeMs: 30 * 86_400_000, limits: { receiveMaximum: 65_535 } },
    device: { publishEveryMs: 20, outboxMessages: 1_000, persistent: false, latencyMs: 5, jitterMs: 0 },
  },
};
const CUTS: WorldStage = {
  kind: "world",
  faults: ["power-cut", "power-blink", "power-cut-in-write", "reset", "broker-outage"],
  traits: { device: { persistent: true, publishEveryMs: 10_000, commandEveryMs: 20_000 } },
};
const RIGHTS_END: WorldStage = {
  kind: "world",
  faults: ["rights-end-first"],
  traits: {
    world: { limits: { versions: [4, 5] } },
    device: { recoverable: true, bare: false, protocolVersion: 5, publishEveryMs: 2_000, outboxMessages: 1_000 },
  },
};
const SESSION = { kind: "power-cuts", scene: "session" } as const;
/** TLS sessions are resumed all the time, and CONNECT often has no answer. */
const WAKINGS: WorldStage = {
  kind: "world",
  faults: ["stopped", "reset", "flapping", "broker-mute", "broker-busy", "loss"],
  traits: {
    world: { limits: { receiveMaximum: 20, maximumPacketBytes: 2_048 } },
    device: { keepsSessions: true, messagesWithConnect: 3, publishEveryMs: 5_000, pictureBytes: 1_500 },
  },
};

export const MESSAGE_MUTATIONS: readonly Mutation[] = [
  {
    name: "a message is acknowledged before the application is done with it",
    file: "sdk/mqtt/session/message-stream.ts",
    find: "      waiter.resolve({ value: message, done: false });",
    replace: "      message.ack();\n      waiter.resolve({ value: message, done: false });",
    invariants: ["early-ack"],
    stage: BUSY,
  },
  {
    name: "publish settles before the broker has the message",
    file: "sdk/mqtt/session/outgoing-message.ts",
    find: "  outcome(): Promise<PublishResult> {\n",
    replace: "  outcome(): Promise<PublishResult> {\n    if (this.qos > 0) return Promise.resolve(DELIVERED);\n",
    invariants: ["qos1-lost", "qos2-lost"],
    stage: BUSY,
  },
  {
    name: "packet identifiers do not wrap",
    file: "sdk/mqtt/session/packet-ids.ts",
    find: "this.#last === LARGEST ? 1 : this.#last + 1",
    replace: "this.#last + 1",
    invariants: ["protocol", "exception", "qos1-lost", "qos2-lost"],
    stage: FLOOD,
  },
  {
    name: "packet identifiers are never free again",
    file: "sdk/mqtt/session/sender.ts",
    find: "this.journal.remove(message, () => this.ids.release(message.messageId));",
    replace: "this.journal.remove(message, () => undefined);",
    invariants: ["exception"],
    stage: FLOOD,
  },
  {
    name: "what is sent again does not say so",
    file: "sdk/mqtt/session/sender.ts",
    find: "for (const one of this.#sent) one.dup = true;",
    replace: "",
    invariants: ["protocol", "qos2-doubled", "qos2-lost"],
    stage: BUSY,
  },
  {
    name: "what was in flight when the connection broke is forgotten",
    file: "sdk/mqtt/session/sender.ts",
    find: "this.outbox.takeBack(this.#sent);",
    replace: "for (let one = this.#sent.first; one !== undefined; one = this.#sent.first) this.#sent.remove(one);",
    invariants: ["qos1-lost", "qos2-lost", "bounds"],
    stage: BUSY,
  },
  {
    name: "what was in flight goes behind what was never sent",
    file: "sdk/mqtt/session/sender.ts",
    find: "this.outbox.takeBack(this.#sent);",
    replace:
      "for (let one = this.#sent.first; one !== undefined; one = this.#sent.first) { this.#sent.remove(one); this.outbox.waiting.append(one); }",
    invariants: ["order"],
    stage: BUSY,
  },
  {
    name: "the broker's receive maximum is ignored",
    file: "sdk/mqtt/session/sender.ts",
    find: "      else if (message.qos > 0 && this.inFlight >= window) return undefined;\n",
    replace: "",
    invariants: ["protocol"],
    stage: BUSY_5,
  },
  {
    name: "PUBREL is never sent",
    file: "sdk/mqtt/session/sender.ts",
    find: 'if (isDue) this.owner.acknowledge("pubrel", message.messageId, 0);',
    replace: "",
    invariants: ["bounds", "qos1-lost", "qos2-lost"],
    stage: BUSY,
  },
  {
    name: "a repeated QoS 2 message is handled again",
    file: "sdk/mqtt/session/receiver.ts",
    find: "if (qos === 2 && this.#received.has(messageId)) return this.#pubrec(messageId);",
    replace: "",
    invariants: ["qos2-doubled"],
    stage: BUSY,
  },
  {
    name: "a message the application still has is handed over again",
    file: "sdk/mqtt/session/receiver.ts",
    find: "return this.#again(open);",
    replace: "{}",
    invariants: ["qos2-doubled"],
    stage: BUSY,
  },
  {
    name: "PUBREC goes out before the reception is stored",
    file: "sdk/mqtt/session/stored-journal.ts",
    find: '    if (last?.kind === "received" && !this.#isCommitting) last.thens.push(then);',
    replace: '    then();\n    if (last?.kind === "received" && !this.#isCommitting) return;',
    invariants: ["qos2-doubled", "protocol"],
    stage: SESSION,
  },
  {
    name: "what was received is not stored at all",
    file: "sdk/mqtt/session/stored-journal.ts",
    find: "    if (ids.length === 0) this.#delete(RECEIVED_KEY);",
    replace: "    if (ids.length >= 0) this.#delete(RECEIVED_KEY);",
    invariants: ["qos2-doubled"],
    stage: SESSION,
  },
  {
    name: "QoS 1 messages are not stored though the outbox is persistent",
    file: "sdk/mqtt/session/sender.ts",
    find: "if (persist && message.qos > 0) this.journal.store(message);",
    replace: "if (persist && message.qos > 1) this.journal.store(message);",
    invariants: ["qos1-lost"],
    stage: CUTS,
  },
  {
    name: "PUBREC is not stored",
    file: "sdk/mqtt/session/stored-journal.ts",
    find: "      this.#put(recordKey(recordNumber, 0), head);\n",
    replace: "",
    invariants: ["qos2-doubled"],
    stage: SESSION,
  },
  {
    name: "records of delivered messages stay in flash",
    file: "sdk/mqtt/session/stored-journal.ts",
    find: "      this.#delete(recordKey(recordNumber, 0));\n",
    replace: "",
    invariants: ["bounds", "qos2-doubled", "protocol"],
    stage: CUTS,
  },
  {
    name: "messages make room for others and nobody is told",
    file: "sdk/mqtt/session/sender.ts",
    find: "for (const victim of victims) this.giveUp(victim, this.denials?.release(victim) ?? overflowError(victim));",
    replace: "for (const victim of victims) { victim.list?.remove(victim); this.#forget(victim); }",
    invariants: ["qos1-lost", "qos2-lost"],
    stage: {
      kind: "world",
      faults: ["broker-outage", "long-outage", "reset"],
      traits: { device: { overflow: "drop-oldest", outboxMessages: 30, publishEveryMs: 20_000 } },
    },
  },
  {
    name: "the outbox has no bounds",
    file: "sdk/mqtt/session/outbox.ts",
    find: "if (messages <= 0 && bytes <= 0) return NONE;",
    replace: "return NONE;",
    invariants: ["bounds"],
    stage: { kind: "world", faults: ["long-outage", "broker-outage"], traits: { device: { outboxMessages: 30, publishEveryMs: 20_000 } } },
  },
  {
    name: "subscriptions are not made again when the broker has lost the session",
    file: "sdk/mqtt/session/subscription-table.ts",
    find: "if (!isKnown) entry.isEstablished = false;",
    replace: "",
    invariants: ["qos1-lost", "not-back-online", "exception"],
    stage: { kind: "world", faults: ["session-removed", "broker-amnesia"], traits: { device: { commandEveryMs: 60_000 } } },
  },
  {
    name: "QoS 2 messages are completed by PUBREC",
    file: "sdk/mqtt/session/sender.ts",
    find: "    this.#released.set(messageId, message);\n    this.journal.release(message, () => {",
    replace: "    this.#complete(message, 0, undefined);\n    this.journal.release(message, () => {",
    invariants: ["protocol", "qos2-lost", "qos2-doubled", "bounds"],
    stage: BUSY,
  },
  {
    name: "a topic alias stands for another topic than the broker was told",
    file: "sdk/mqtt/link/topic-aliases.ts",
    find: "    const alias = this.#aliases.size + 1;",
    replace: "    const alias = Math.max(1, this.#aliases.size);",
    invariants: ["order", "protocol"],
    stage: BUSY_5,
  },
  {
    name: "what the broker lost after PUBREC counts as delivered",
    file: "sdk/mqtt/session/sender.ts",
    find: "else this.#doubt(message, sessionLostError(message));",
    replace: "else this.#complete(message, 0, undefined);",
    invariants: ["qos2-lost"],
    stage: {
      kind: "world",
      faults: ["session-removed", "broker-amnesia", "reset"],
      traits: { world: { limits: { qos2PassedOn: "at-pubrel" } }, device: { publishEveryMs: 5_000, latencyMs: 400 } },
    },
  },
  {
    name: "an item that the broker hangs up on is never set apart",
    file: "sdk/mqtt/session/suspects.ts",
    find: "export const APART_STRIKES = 2;",
    replace: "export const APART_STRIKES = 1e9;",
    invariants: ["held-up", "not-back-online", "bounds"],
    stage: {
      kind: "world",
      faults: ["hangs-up-on-item"],
      days: 1,
      traits: { device: { publishEveryMs: 20_000, overflow: "reject", persistent: true, outboxMessages: 1_000 } },
    },
  },
  {
    name: "whatever is under way is given up when connections end",
    file: "sdk/mqtt/session/suspects.ts",
    find: "      if (item.strikes >= APART_STRIKES) continue;\n",
    replace: "      if (item.strikes === 0) return item;\n",
    invariants: ["blamed"],
    stage: { kind: "world", faults: ["reset", "flapping", "kick"], traits: { device: { publishEveryMs: 10_000, latencyMs: 400 } } },
  },
  {
    name: "what nobody takes yet is acknowledged and dropped at once",
    file: "sdk/mqtt/session/session.ts",
    find: "(message.qos > 0 && this.#unclaimed.hold(message))",
    replace: "false",
    invariants: ["no-taker", "qos1-lost", "qos2-lost"],
    stage: { kind: "world", faults: ["power-cut", "broker-outage"], traits: { device: { subscribes: 8_000, commandEveryMs: 20_000 } } },
  },
  {
    name: "a denial just before the end of the certificate is final",
    file: "sdk/mqtt/session/denied-messages.ts",
    find: "if (this.graceMs === 0 ||",
    replace: "if (this.graceMs >= 0 ||",
    invariants: ["denied-at-the-end"],
    stage: RIGHTS_END,
  },
  {
    name: "what was denied before the end of the certificate is forgotten",
    file: "sdk/mqtt/session/sender.ts",
    find: "    this.outbox.takeBack(this.outbox.denied);\n",
    replace: "",
    invariants: ["qos1-lost", "qos2-lost"],
    stage: RIGHTS_END,
  },
  {
    name: "what went out with a CONNECT that had no answer is taken for sent",
    file: "sdk/mqtt/session-driver.ts",
    find: "else this.session.sender.end();",
    replace: "",
    invariants: ["order", "qos1-lost", "qos2-lost"],
    stage: WAKINGS,
  },
];
