/** A fleet's device behind one face: the SDK's own, or MQTT.js doing the same for comparison. */
import mqtt from "mqtt";
import { Device, type DeviceConfig } from "../../sdk/device/device.js";
import { IdentityStore } from "../../sdk/identity/store.js";
import { createPrivateKey } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { errorCode } from "../../sdk/errors.js";
import { NodeKeyStore } from "../node/node-key-store.js";
import { nodePlatform } from "../node/node-platform.js";
import { NodeStorage } from "../node/record-storage.js";
import type { FleetIdentity, FleetPlan } from "./fleet-plan.js";
import type { FleetSurroundings } from "./fleet-surroundings.js";

export interface ClientListener {
  connected(credential: string): void;
  /** An attempt failed or a connection ended. */
  ended(code: string, wasConnected: boolean): void;
  /** Something else that a report counts by its code. */
  trouble(code: string): void;
  renewed(): void;
  attempt(): void;
}

export interface FleetClient {
  start(): void;
  /** Settles when the client has taken the message into its keeping; rejects when it has not. */
  publish(topic: string, payload: string, qos: 0 | 1 | 2): Promise<void>;
  /** Messages in its keeping that are not delivered. */
  waiting(): number;
  renew(): void;
  /** Ends the connection. What waits is kept by {@link FleetStores}. */
  stop(): Promise<void>;
}

/** A device's flash: survives its reboots, and goes back to the coordinator at the end. */
export class FleetStores {
  readonly #records = new Map<string, Uint8Array>();
  readonly #keys = new Map<string, Uint8Array>();
  readonly keyStore = new NodeKeyStore({
    save: (slot, secret) => void this.#keys.set(slot, secret),
    erase: (slot) => void this.#keys.delete(slot),
  });
  readonly storage = new NodeStorage({
    save: (key, value) => void this.#records.set(key, value),
    erase: (key) => void this.#records.delete(key),
  });

  constructor(readonly identity: FleetIdentity) {
    for (const [key, value] of Object.entries(identity.records)) {
      this.#records.set(key, value);
      this.storage.restore(key, value);
    }
    for (const [slot, secret] of Object.entries(identity.keys)) {
      this.#keys.set(slot, secret);
      this.keyStore.restore(slot, secret);
    }
  }

  kept(): FleetIdentity {
    return { id: this.identity.id, records: Object.fromEntries(this.#records), keys: Object.fromEntries(this.#keys) };
  }
}

/** The same for a device that publishes by itself and for one that runs a product's program. */
export function deviceConfig(plan: FleetPlan): DeviceConfig {
  return {
    broker: plan.broker,
    ...(plan.recovery ? { recovery: plan.recovery } : {}),
    outbox: { persistent: plan.rebootsPerHour > 0 },
    backoff: { capMs: plan.retryCapMs },
    recoveryPatience: { minimumMs: plan.recoveryPatienceMs, maximumMs: plan.recoveryPatienceMs * 1.5 },
  };
}

/** Tells the listener what the device goes through. */
export function reportTo(listener: ClientListener, device: Device): void {
  device.listen((event) => {
    if (event.type === "connecting") listener.attempt();
    else if (event.type === "connected") listener.connected(event.credential);
    else if (event.type === "disconnected") listener.ended(event.code, event.wasConnected);
    else if (event.type === "renewed") listener.renewed();
    else if (
      event.type === "renewal-failed" ||
      event.type === "message-dropped" ||
      event.type === "message-uncertain" ||
      event.type === "subscription-refused"
    )
      listener.trouble(`${event.type}: ${event.code}`);
    else if (event.type === "identity-dropped" || event.type === "credential-changed") listener.trouble(`${event.type}: ${event.code}`);
  });
}

export function hawserClient(plan: FleetPlan, stores: FleetStores, listener: ClientListener, surroundings: FleetSurroundings): FleetClient {
  const platform = nodePlatform({ keyStore: stores.keyStore, storage: stores.storage });
  const device = new Device(deviceConfig(plan), surroundings.around(platform));
  reportTo(listener, device);
  void answerPings(device, listener);
  return {
    start: () => device.start(),
    publish: async (topic, payload, qos) => void (await device.publish(`up/${topic}`, payload, { qos, queue: qos > 0 })),
    waiting: () => device.status.outbox.messages,
    renew: () => device.renew(),
    stop: () => device.stop(),
  };
}

/** Before a subscription that was given up is asked for again, milliseconds. */
const SUBSCRIBE_AGAIN_MS = 10_000;

/**
 * Answers for as long as the device runs. A network that resets each connection as soon as it is used looks to a device as if the broker
 * hung up on its subscription: it gives it up, and asks for it again here.
 */
export async function answerPings(
  device: Pick<Device, "publish" | "status" | "subscribe" | "topic">,
  listener: Pick<ClientListener, "trouble">,
  againMs = SUBSCRIBE_AGAIN_MS,
): Promise<void> {
  for (;;) {
    try {
      for await (const { topic, payload } of device.subscribe("down/#", { qos: 1 })) {
        if (topic !== device.topic("down/ping")) continue;
        await device.publish("up/pong", payload, { qos: 1, queue: true }).catch(() => listener.trouble("pong-refused"));
      }
      return;
    } catch (error) {
      listener.trouble(`subscription-ended: ${errorCode(error)}`);
    }
    await delay(againMs, undefined, { ref: false });
    if (device.status.state === "stopped") return;
  }
}

/** The same device as a program over MQTT.js would have it: the same certificate, session and payloads, and its default reconnecting. */
export function mqttJsClient(plan: FleetPlan, stores: FleetStores, listener: ClientListener): FleetClient {
  const store = IdentityStore.load(stores.storage, stores.keyStore);
  const { base } = store;
  const { id } = store.device;
  const pem = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der)
      .toString("base64")
      .replace(/.{64}(?=.)/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
  const key = createPrivateKey(
    stores.keyStore.signingKey(store.active?.keySlot ?? "key-a").export({ type: "pkcs8", format: "pem" }),
  ).export({ type: "pkcs8", format: "pem" });
  const client = mqtt.connect({
    protocol: "mqtts",
    host: plan.broker.host,
    port: plan.broker.port,
    clientId: id,
    clean: false,
    protocolVersion: 4,
    keepalive: 60,
    cert: (store.active?.chain ?? []).map(pem).join(""),
    key,
    ca: store.trustAnchors.map(pem).join(""),
    manualConnect: true,
    reconnectOnConnackError: true,
  });
  let isConnected = false;
  let waiting = 0;
  client.on("connect", () => {
    isConnected = true;
    listener.connected("mtls");
    client.subscribe(`${base}/down/#`, { qos: 1 });
  });
  client.on("reconnect", () => listener.attempt());
  client.on("error", (error) => listener.trouble("code" in error ? String(error.code) : error.message));
  client.on("close", () => {
    listener.ended("CLOSED", isConnected);
    isConnected = false;
  });
  client.on(
    "message",
    (_topic, payload) => void client.publishAsync(`${base}/up/pong`, payload, { qos: 1 }).catch(() => listener.trouble("pong-refused")),
  );
  return {
    start: () => {
      listener.attempt();
      client.connect();
    },
    publish: async (topic, payload, qos) => {
      waiting += 1;
      client.publish(`${base}/up/${topic}`, payload, { qos }, (error) => {
        waiting -= 1;
        if (error) listener.trouble("publish-failed");
      });
    },
    waiting: () => waiting,
    renew: () => undefined,
    // By force: it would wait for ever for acknowledgements that a broker which is gone does not send.
    stop: () => client.endAsync(true),
  };
}
