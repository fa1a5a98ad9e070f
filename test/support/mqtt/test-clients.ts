/** For tests against real brokers: clients over the Node dialer, and how to wait for what they do. */
import { failure, type Failure } from "../../../sdk/failure.js";
import type { Credential, Link, LinkHandlers, Storage } from "../../../sdk/platform.js";
import { nodeClock } from "../../../sim/node/node-clock.js";
import { NodeDialer } from "../../../sim/node/node-dialer.js";
import { memoryKeyStore } from "../../../sim/node/memory-stores.js";
import { nodeRandom } from "../../../sim/node/node-random.js";
import { nodeScheduler } from "../../../sim/node/node-scheduler.js";
import { MqttClient } from "../../../sdk/mqtt/client.js";
import type { MqttOptions, SubscribeOptions } from "../../../sdk/mqtt/contract/options.js";
import type { Message, Subscription } from "../../../sdk/mqtt/contract/incoming-messages.js";

export type Dial = (handlers: LinkHandlers) => Link;

const platform = { clock: nodeClock, scheduler: nodeScheduler(), random: nodeRandom, log: (): void => undefined };

const DIAL_TIMEOUT_MS = 20_000;

/** Plain TCP to a port of this machine, which may be known later only. */
export function plainDial(port: () => number): Dial {
  return dialWith(new NodeDialer(memoryKeyStore()), port, { kind: "none" });
}

export function dialWith(dialer: NodeDialer, port: () => number, credential: Credential): Dial {
  return (handlers) => dialer.dial({ host: "127.0.0.1", port: port() }, credential, DIAL_TIMEOUT_MS, handlers);
}

let count = 0;

/** A client with a name of its own, for a session of its own unless told otherwise. */
export function makeClient(options: Partial<MqttOptions> & Pick<MqttOptions, "protocolVersion">, storage?: Storage): MqttClient {
  const defaults = { clientId: `client-${process.pid}-${count++}`, cleanStart: true, keepAliveSeconds: 30, connackTimeoutMs: 20_000 };
  return new MqttClient({ ...defaults, ...options }, platform, storage);
}

/** A subscription that the broker has granted. */
export async function subscribed(client: MqttClient, filter: string, options: SubscribeOptions = {}): Promise<Subscription> {
  const subscription = client.subscribe(filter, options);
  await subscription.granted;
  return subscription;
}

/** The next message, which is acknowledged when the one after it is asked for. */
export async function next(subscription: Subscription): Promise<Message> {
  const { value } = await subscription.next();
  if (value === undefined) throw new Error("the subscription ended");
  return value;
}

/** The texts of the next messages. */
export async function nextTexts(subscription: Subscription, howMany: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < howMany) texts.push((await next(subscription)).text());
  return texts;
}

/** The next connection's end. */
export function end(client: MqttClient): Promise<Failure> {
  return new Promise((resolve) => (client.onEnd = resolve));
}

/** Breaks the connection without a DISCONNECT. */
export async function vanish(client: MqttClient): Promise<void> {
  const ended = end(client);
  client.abort(failure("CONNECTION_RESET", "the test breaks it"));
  await ended;
}

/** Makes the connection and settles when the client has sent so many PINGREQs on it. */
export function pinged(client: MqttClient, dial: Dial, howOften: number): Promise<void> {
  let pings = 0;
  return new Promise((resolve, reject) => {
    client.onEnd = (reason) => reject(new Error(reason.message));
    const counting = (handlers: LinkHandlers): Link => {
      const link = dial(handlers);
      return {
        close: () => link.close(),
        write: (bytes) => (bytes[0] === PINGREQ && ++pings === howOften && resolve(), link.write(bytes)),
      };
    };
    client.connect(counting).catch(reject);
  });
}

const PINGREQ = 0xc0;
