/** The clients that are compared, behind one face. */
import type { ClientName, Place, QoS } from "./task.js";

export interface BenchClient {
  /**
   * Publishes so many messages with up to a window of them in flight; settles when the last is acknowledged (QoS 1, 2) or handed over (QoS
   * 0).
   */
  publish(payload: Buffer, qos: QoS, messages: number): Promise<void>;
  /** Publishes one message at QoS 1 and waits for its acknowledgement. */
  roundTrip(payload: Buffer): Promise<unknown>;
  /** Subscribes; calls back for so many messages (of `sizeBytes` each) as have come. */
  subscribe(qos: QoS, sizeBytes: number, onMessages: (count: number) => void): Promise<void>;
  /** Asks the peer for messages. */
  order(text: string): Promise<unknown>;
  close(): Promise<unknown>;
}

/** Connects to one place again and again. */
export type Connect = (clientId: string) => Promise<BenchClient>;

/** Only what is measured is loaded. */
export async function clientOf(name: ClientName, place: Place): Promise<Connect> {
  switch (name) {
    case "Hawser":
      return (await import("./hawser-client.js")).connectHawser(place);
    case "MQTT.js":
      return (await import("./mqttjs-client.js")).connectMqttJs(place, false);
    case "MQTT.js noDelay":
      return (await import("./mqttjs-client.js")).connectMqttJs(place, true);
    case "socket":
      return (await import("./socket-client.js")).connectSocket(place);
  }
}
