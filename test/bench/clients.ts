/** The two clients that are compared, behind one face. */
import mqtt from "mqtt";
import { MqttClient } from "../../sdk/mqtt/client.js";
import { nodePlatform } from "../../sim/node/platform.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory.js";

export interface BenchClient {
  /** Settles when the message is acknowledged (QoS 1) or handed over (QoS 0). */
  publish(topic: string, payload: Buffer, qos: 0 | 1): Promise<unknown>;
  /** Calls back for each message of the topic `t`. */
  receive(onMessage: () => void): Promise<void>;
  close(): Promise<unknown>;
}

export type Connect = (port: number) => Promise<BenchClient>;

export const connectHawser: Connect = async (port) => {
  const platform = nodePlatform({ keyStore: memoryKeyStore(), storage: memoryStorage() });
  const options = { clientId: "bench", protocolVersion: 4, cleanStart: true, keepAliveSeconds: 60, connackTimeoutMs: 10_000, outbox: { maxMessages: 60_000, maxBytes: 1e9, overflow: "reject" } } as const;
  const client = new MqttClient({ ...options, inFlightWindow: 1_000 }, platform);
  await client.connect((handlers) => platform.dialer.dial({ host: "127.0.0.1", port }, { kind: "none" }, 10_000, handlers));
  return {
    publish: (topic, payload, qos) => client.publish(topic, payload, { qos }),
    receive: async (onMessage) => {
      const subscription = client.subscribe("t", { qos: 1 });
      await subscription.granted;
      void (async (): Promise<void> => {
        for await (const message of subscription) if (message.qos === 1) onMessage();
      })();
    },
    close: () => client.disconnect(),
  };
};

/** @param noDelay MQTT.js itself leaves Nagle's algorithm on */
const connectMqttJs = async (port: number, noDelay: boolean): Promise<BenchClient> => {
  const client = await mqtt.connectAsync({ protocol: "mqtt", host: "127.0.0.1", port, clientId: "bench", protocolVersion: 4, reconnectPeriod: 0 });
  if (noDelay) (client.stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true);
  return {
    publish: (topic, payload, qos) => client.publishAsync(topic, payload, { qos }),
    receive: async (onMessage) => {
      client.on("message", onMessage);
      await client.subscribeAsync("t", { qos: 1 });
    },
    close: () => client.endAsync(true),
  };
};

export const connectMqttJsPlain: Connect = (port) => connectMqttJs(port, false);
export const connectMqttJsNoDelay: Connect = (port) => connectMqttJs(port, true);
