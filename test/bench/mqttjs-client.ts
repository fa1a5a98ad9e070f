/** MQTT.js as its users run it. */
import mqtt, { type IClientOptions } from "mqtt";
import type { Connect } from "./clients.js";
import { secureContextOf } from "./secure-context.js";
import { FLOOD_TOPIC, PUBLISH_TOPIC, RECEIVE_TOPIC, WINDOW, type Place } from "./task.js";

/** @param noDelay sets it on the socket, which MQTT.js does not */
export function connectMqttJs(place: Place, noDelay: boolean): Connect {
  // One context for all connections, as Hawser has.
  const tls = place.identity === undefined ? {} : { secureContext: secureContextOf(place.identity) };
  const protocol = place.identity === undefined ? "mqtt" : "mqtts";
  return async (clientId) => {
    const options = { protocol, host: "127.0.0.1", port: place.port, clientId, protocolVersion: 4, reconnectPeriod: 0, ...tls } satisfies IClientOptions & object;
    const client = await mqtt.connectAsync(options);
    if (noDelay) (client.stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true);
    return {
      async publish(payload, qos, messages) {
        for (let left = messages; left > 0; left -= WINDOW) {
          await Promise.all(Array.from({ length: Math.min(left, WINDOW) }, () => client.publishAsync(PUBLISH_TOPIC, payload, { qos })));
        }
      },
      roundTrip: (payload) => client.publishAsync(PUBLISH_TOPIC, payload, { qos: 1 }),
      async subscribe(qos, _sizeBytes, onMessages) {
        client.on("message", (_topic, _payload, packet) => {
          if (packet.qos === qos) onMessages(1);
        });
        await client.subscribeAsync(RECEIVE_TOPIC, { qos });
      },
      order: (text) => client.publishAsync(FLOOD_TOPIC, text),
      close: () => client.endAsync(true),
    };
  };
}
