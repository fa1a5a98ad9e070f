/** Hawser as its users run it on Node: the MQTT client over the Node platform's dialer. */
import { MqttClient } from "../../sdk/mqtt/client.js";
import type { Credential } from "../../sdk/platform.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory-stores.js";
import { nodePlatform } from "../../sim/node/node-platform.js";
import type { BenchClient, Connect } from "./bench-clients.js";
import { FLOOD_TOPIC, PUBLISH_TOPIC, RECEIVE_TOPIC, WINDOW, type Identity, type Place, type QoS } from "./task.js";

const SLOT = "key-a";
const TIMEOUT_MS = 10_000;
/** A window as wide as what the bench sends at once, which MQTT.js has anyway. */
const OPTIONS = {
  protocolVersion: 4,
  cleanStart: true,
  keepAliveSeconds: 60,
  connackTimeoutMs: TIMEOUT_MS,
  inFlightWindow: WINDOW,
  outbox: { maxMessages: 2 * WINDOW, maxBytes: 16_777_216, overflow: "reject" },
} as const;
/** The first byte of a kept slot that holds a signing key. */
const SIGNING_KEY = 1;

export function connectHawser(place: Place): Connect {
  const keyStore = memoryKeyStore();
  const platform = nodePlatform({ keyStore, storage: memoryStorage() });
  const { port, identity } = place;
  if (identity !== undefined) keyStore.restore(SLOT, Buffer.concat([Buffer.of(SIGNING_KEY), Buffer.from(identity.key, "base64")]));
  const credential: Credential = identity === undefined ? { kind: "none" } : credentialOf(identity);
  return async (clientId) => {
    const client = new MqttClient({ ...OPTIONS, clientId }, platform);
    await client.connect((handlers) => platform.dialer.dial({ host: "127.0.0.1", port }, credential, TIMEOUT_MS, handlers));
    return new HawserClient(client);
  };
}

class HawserClient implements BenchClient {
  constructor(private readonly client: MqttClient) {}

  async publish(payload: Buffer, qos: QoS, messages: number): Promise<void> {
    for (let left = messages; left > 0; left -= WINDOW) {
      await Promise.all(Array.from({ length: Math.min(left, WINDOW) }, () => this.client.publish(PUBLISH_TOPIC, payload, { qos })));
    }
  }

  roundTrip(payload: Buffer): Promise<unknown> {
    return this.client.publish(PUBLISH_TOPIC, payload, { qos: 1 });
  }

  async subscribe(qos: QoS, _sizeBytes: number, onMessages: (count: number) => void): Promise<void> {
    const subscription = this.client.subscribe(RECEIVE_TOPIC, { qos });
    await subscription.granted;
    void (async (): Promise<void> => {
      for await (const message of subscription) if (message.qos === qos) onMessages(1);
    })();
  }

  order(text: string): Promise<unknown> {
    return this.client.publish(FLOOD_TOPIC, text);
  }

  close(): Promise<void> {
    return this.client.disconnect();
  }
}

function credentialOf({ chain, trustAnchors }: Identity): Credential {
  const bytes = (list: readonly string[]): Uint8Array[] => list.map((der) => new Uint8Array(Buffer.from(der, "base64")));
  return { kind: "mtls", slot: SLOT, chain: bytes(chain), trustAnchors: bytes(trustAnchors) };
}
