/** MQTT.js as its users run it. */
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { BenchClient, Connect } from "./bench-clients.js";
import { secureContextOf } from "./secure-context.js";
import { FLOOD_TOPIC, PUBLISH_TOPIC, RECEIVE_TOPIC, WINDOW, type Place, type QoS } from "./task.js";

/** @param noDelay sets it on the socket, which MQTT.js does not */
export function connectMqttJs(place: Place, noDelay: boolean): Connect {
  // One context for all connections, as Hawser has.
  const tls = place.identity === undefined ? {} : { secureContext: secureContextOf(place.identity) };
  const protocol = place.identity === undefined ? "mqtt" : "mqtts";
  return async (clientId) => {
    const options = {
      protocol,
      host: "127.0.0.1",
      port: place.port,
      clientId,
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...tls,
    } satisfies IClientOptions & object;
    const client = await mqtt.connectAsync(options);
    if (noDelay) (client.stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true);
    return new MqttJsClient(client);
  };
}

class MqttJsClient implements BenchClient {
  constructor(private readonly client: MqttClient) {}

  async publish(payload: Buffer, qos: QoS, messages: number): Promise<void> {
    for (let left = messages; left > 0; left -= WINDOW) {
      await Promise.all(Array.from({ length: Math.min(left, WINDOW) }, () => this.client.publishAsync(PUBLISH_TOPIC, payload, { qos })));
    }
  }

  roundTrip(payload: Buffer): Promise<unknown> {
    return this.client.publishAsync(PUBLISH_TOPIC, payload, { qos: 1 });
  }

  async subscribe(qos: QoS, _sizeBytes: number, onMessages: (count: number) => void): Promise<void> {
    this.client.on("message", (_topic, _payload, packet) => {
      if (packet.qos === qos) onMessages(1);
    });
    await this.client.subscribeAsync(RECEIVE_TOPIC, { qos });
  }

  order(text: string): Promise<unknown> {
    return this.client.publishAsync(FLOOD_TOPIC, text);
  }

  close(): Promise<void> {
    return this.client.endAsync(true);
  }
}
