/**
 * Faults of a peer that speaks MQTT: packets are cut out of the stream whole, read by mqtt-packet, and passed on untouched unless a toxic
 * says otherwise.
 */
import mqttPacket, { type Packet } from "mqtt-packet";
import { readRemainingLength } from "../brokers/packet-frames.js";
import type { SeededRandom } from "../virtual/random.js";
import { numberOf, type Toxic } from "./toxics.js";

/** What both directions of a connection know. */
export interface MqttConnectionState {
  protocolVersion: number;
}

/** What becomes of a packet. */
export type Verdict = { readonly bytes: Buffer; readonly delayMs: number } | { readonly disconnect: Buffer };

export class MqttFaults {
  #rest: Buffer = Buffer.alloc(0);
  /** Packets of its kind that each toxic has met and hit. */
  readonly #met = new Map<string, { met: number; hit: number }>();

  constructor(
    private readonly state: MqttConnectionState,
    private readonly random: SeededRandom,
  ) {}

  /** The whole packets that `chunk` completes, and what becomes of each. */
  take(chunk: Buffer, toxics: readonly Toxic[]): Verdict[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const verdicts: Verdict[] = [];
    while (this.#rest.length >= 2) {
      const length = readRemainingLength(this.#rest, 1);
      // What is no MQTT passes as it is: a proxy must not hide a broken peer.
      if (length === "malformed") {
        verdicts.push({ bytes: this.#rest, delayMs: 0 });
        this.#rest = Buffer.alloc(0);
        break;
      }
      if (length === "incomplete" || this.#rest.length < length.nextOffset + length.value) break;
      const end = length.nextOffset + length.value;
      verdicts.push(...this.#judge(Buffer.from(this.#rest.subarray(0, end)), toxics));
      this.#rest = this.#rest.subarray(end);
    }
    return verdicts;
  }

  #judge(bytes: Buffer, toxics: readonly Toxic[]): Verdict[] {
    const packet = parse(bytes, this.state.protocolVersion);
    if (packet === undefined) return [{ bytes, delayMs: 0 }];
    if (packet.cmd === "connect") this.state.protocolVersion = packet.protocolVersion ?? 4;
    let [out, delayMs, copies] = [bytes, 0, 1];
    for (const toxic of toxics) {
      if (toxic.type === "mqtt_session_present") {
        if (packet.cmd === "connack")
          out = mqttPacket.generate(
            { ...packet, sessionPresent: toxic.attributes["value"] === true },
            { protocolVersion: this.state.protocolVersion },
          );
        continue;
      }
      if (toxic.attributes["packet"] !== packet.cmd || !this.#hits(toxic)) continue;
      if (toxic.type === "mqtt_drop") copies = 0;
      else if (toxic.type === "mqtt_duplicate") copies *= 2;
      else if (toxic.type === "mqtt_delay") delayMs += numberOf(toxic, "delay");
      else if (toxic.type === "mqtt_disconnect") return [{ disconnect: this.#disconnect(toxic) }];
    }
    return Array.from({ length: copies }, () => ({ bytes: out, delayMs }));
  }

  #hits(toxic: Toxic): boolean {
    const counts = this.#met.get(toxic.name) ?? { met: 0, hit: 0 };
    this.#met.set(toxic.name, counts);
    counts.met += 1;
    const most = numberOf(toxic, "count");
    if (counts.met <= numberOf(toxic, "skip") || (most > 0 && counts.hit >= most) || !this.random.chance(numberOf(toxic, "probability")))
      return false;
    counts.hit += 1;
    return true;
  }

  /** 3.1.1 has no way for a server to say why. */
  #disconnect(toxic: Toxic): Buffer {
    if (this.state.protocolVersion < 5) return Buffer.alloc(0);
    return mqttPacket.generate({ cmd: "disconnect", reasonCode: numberOf(toxic, "reason") } as Packet, { protocolVersion: 5 });
  }
}

function parse(bytes: Buffer, protocolVersion: number): Packet | undefined {
  let found: Packet | undefined;
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on("packet", (packet: Packet) => (found = packet));
  parser.on("error", () => undefined);
  parser.parse(bytes);
  return found;
}
