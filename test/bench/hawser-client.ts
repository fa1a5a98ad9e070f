/** Hawser as its users run it on Node: the MQTT client over the Node platform's dialer. */
import { MqttClient } from "../../sdk/mqtt/client.js";
import type { Credential } from "../../sdk/platform.js";
import { memoryKeyStore, memoryStorage } from "../../sim/node/memory.js";
import { nodePlatform } from "../../sim/node/platform.js";
import type { Connect } from "./clients.js";
import { FLOOD_TOPIC, PUBLISH_TOPIC, RECEIVE_TOPIC, WINDOW, type Identity, type Place } from "./task.js";

const SLOT = "key-a";
const TIMEOUT_MS = 10_000;
/** The first byte of a kept slot that holds a signing key. */
const SIGNING_KEY = 1;

export function connectHawser(place: Place): Connect {
  const keyStore = memoryKeyStore();
  const platform = nodePlatform({ keyStore, storage: memoryStorage() });
  const { port, identity } = place;
  if (identity !== undefined) keyStore.restore(SLOT, Buffer.concat([Buffer.of(SIGNING_KEY), Buffer.from(identity.key, "base64")]));
  const credential: Credential = identity === undefined ? { kind: "none" } : credentialOf(identity);
  return async (clientId) => {
    const outbox = { maxMessages: 2 * WINDOW, maxBytes: 16_777_216, overflow: "reject" } as const;
    const client = new MqttClient({ clientId, protocolVersion: 4, cleanStart: true, keepAliveSeconds: 60, connackTimeoutMs: TIMEOUT_MS, inFlightWindow: WINDOW, outbox }, platform);
    await client.connect((handlers) => platform.dialer.dial({ host: "127.0.0.1", port }, credential, TIMEOUT_MS, handlers));
    return {
      async publish(payload, qos, messages) {
        for (let left = messages; left > 0; left -= WINDOW) {
          await Promise.all(Array.from({ length: Math.min(left, WINDOW) }, () => client.publish(PUBLISH_TOPIC, payload, { qos })));
        }
      },
      roundTrip: (payload) => client.publish(PUBLISH_TOPIC, payload, { qos: 1 }),
      async subscribe(qos, _sizeBytes, onMessages) {
        const subscription = client.subscribe(RECEIVE_TOPIC, { qos });
        await subscription.granted;
        void (async (): Promise<void> => {
          for await (const message of subscription) if (message.qos === qos) onMessages(1);
        })();
      },
      order: (text) => client.publish(FLOOD_TOPIC, text),
      close: () => client.disconnect(),
    };
  };
}

function credentialOf({ chain, trustAnchors }: Identity): Credential {
  const bytes = (list: readonly string[]): Uint8Array[] => list.map((der) => new Uint8Array(Buffer.from(der, "base64")));
  return { kind: "mtls", slot: SLOT, chain: bytes(chain), trustAnchors: bytes(trustAnchors) };
}
