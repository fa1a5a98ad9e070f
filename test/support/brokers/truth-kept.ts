/** The truth table's questions about what a broker keeps for later: wills and retained messages. Not part of the product. */
import type { IClientOptions, MqttClient } from "mqtt";
import type { PolicyEngine } from "../../../host-tools/policy/policy-engine.js";

/** Connects under a name, with a will for instance. */
export type ConnectWith = (name: string, options: IClientOptions) => Promise<MqttClient>;

export interface KeptAnswers {
  /** The engine's: `NAME will TOPIC`, `NAME retain TOPIC` or `NAME replay TOPIC` to yes or no. */
  readonly expected: ReadonlyMap<string, boolean>;
  readonly actual: ReadonlyMap<string, boolean>;
}

export interface KeptQuestions {
  readonly engine: PolicyEngine;
  readonly connect: ConnectWith;
  readonly topics: readonly string[];
  /** The names asked about; `root` watches. */
  readonly names: readonly string[];
  /** Under what `root` sees every topic; each topic itself, for a broker whose wildcards find no retained messages. */
  readonly filters?: readonly string[];
}

export interface RetainedOptions {
  /** What a name subscribes to; the broker grants all of it. */
  readonly filtersOf: (name: string) => readonly string[];
  /** How many allowed and how many denied topics each name publishes to. */
  readonly perAnswer?: number;
  /** True: the broker ends the connection of whoever publishes what it may not. */
  readonly hangsUp?: boolean;
}

/** Only a broker that is wrong lets this pass. */
const PATIENCE_MS = 20_000;

/**
 * Every name connects with a will for a topic and is cut off, once for each of some of its topics: those that must not come go first, and
 * the last ones that must come show that all have been dealt with.
 */
export async function willAnswers(
  { engine, connect, topics, names, filters = ["#"] }: KeptQuestions,
  perAnswer = 12,
): Promise<KeptAnswers> {
  const asked = names.map((name) => ({ name, ...sorted(engine, name, topics, { will: true }, perAnswer) }));
  const awaited = new Set(asked.flatMap(({ name, allowed }) => allowed.map((topic) => `${name} will ${topic}`)));
  const seen = new Set<string>();
  const root = await connect("root", {});
  try {
    const allSeen = new Promise<void>((resolve) =>
      root.on("message", (_topic, payload) => {
        seen.add(payload.toString());
        awaited.delete(payload.toString());
        if (awaited.size === 0) resolve();
      }),
    );
    await root.subscribeAsync([...filters], { qos: 0 });
    for (const which of ["denied", "allowed"] as const) {
      await Promise.all(
        asked.map(async ({ name, [which]: ofName }) => {
          for (const topic of ofName) {
            const payload = Buffer.from(`${name} will ${topic}`);
            // A broker may refuse the connection for its will.
            const client = await connect(name, { will: { topic, payload, qos: 1, retain: false } }).catch(() => undefined);
            if (client !== undefined) await cut(client);
          }
        }),
      );
    }
    await Promise.race([allSeen, new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS).unref())]);
  } finally {
    await root.endAsync(true);
  }
  const expected = new Map(
    asked.flatMap(({ name, allowed, denied }) => [
      ...allowed.map((topic) => [`${name} will ${topic}`, true] as const),
      ...denied.map((topic) => [`${name} will ${topic}`, false] as const),
    ]),
  );
  return { expected, actual: new Map([...expected.keys()].map((question) => [question, seen.has(question)])) };
}

/**
 * Each name publishes retained messages, and `root`, which subscribes afterwards, sees whose were kept. Then `root` has one kept under
 * every topic, and each name subscribes to what `filtersOf` gives.
 */
export async function retainedAnswers(
  { engine, connect, topics, names, filters = ["#"] }: KeptQuestions,
  { filtersOf, perAnswer = topics.length, hangsUp = false }: RetainedOptions,
): Promise<KeptAnswers> {
  const expected = new Map<string, boolean>();
  const actual = new Map<string, boolean>();
  const root = await connect("root", {});
  const clear = async (kept: Iterable<string>): Promise<void> => {
    await Promise.all([...kept].map((topic) => root.publishAsync(topic, "", { qos: 1, retain: true })));
  };
  try {
    for (const name of names) {
      const { allowed, denied } = sorted(engine, name, topics, { retain: true }, perAnswer);
      if (hangsUp) {
        // One after the other, and each that is denied on a connection of its own.
        for (const topic of denied) await publishAlone(await connect(name, {}), topic, name);
      }
      const client = await connect(name, {});
      const together = hangsUp ? allowed : [...denied, ...allowed];
      await Promise.all(together.map((topic) => client.publishAsync(topic, name, { qos: 1, retain: true }).catch(() => undefined)));
      await client.endAsync(true);
      const kept = await replayed(root, filters);
      for (const topic of [...denied, ...allowed]) {
        expected.set(`${name} retain ${topic}`, allowed.includes(topic));
        actual.set(`${name} retain ${topic}`, kept.get(topic) === name);
      }
      await clear(kept.keys());
    }
    const everywhere = sorted(engine, "root", topics, { retain: true }, topics.length).allowed;
    await Promise.all(everywhere.map((topic) => root.publishAsync(topic, "root", { qos: 1, retain: true })));
    for (const name of names) {
      const client = await connect(name, {});
      const kept = await replayed(client, filtersOf(name));
      await client.endAsync(true);
      for (const topic of topics) {
        const { allowed } = engine.authorize({ name, listener: "mtls", action: "receive", topic, atMs: Date.now() });
        expected.set(`${name} replay ${topic}`, allowed);
        actual.set(`${name} replay ${topic}`, kept.has(topic));
      }
    }
    await clear(everywhere);
  } finally {
    await root.endAsync(true);
  }
  return { expected, actual };
}

/** Some of the topics that the engine allows a name to publish, and some that it does not, from all over the list. */
function sorted(
  engine: PolicyEngine,
  name: string,
  topics: readonly string[],
  how: { will?: boolean; retain?: boolean },
  perAnswer: number,
): { allowed: string[]; denied: string[] } {
  const isAllowed = (topic: string): boolean =>
    engine.authorize({ name, listener: "mtls", action: "publish", topic, ...how, atMs: Date.now() }).allowed;
  const spread = (list: readonly string[]): string[] => list.filter((_topic, index) => index % Math.ceil(list.length / perAnswer) === 0);
  return { allowed: spread(topics.filter(isAllowed)), denied: spread(topics.filter((topic) => !isAllowed(topic))) };
}

/** Ends the connection as a power cut does. */
async function cut(client: MqttClient): Promise<void> {
  client.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  client.stream.destroy();
  await closed;
}

/** Publishes and goes, whether the broker answers or ends the connection. */
async function publishAlone(client: MqttClient, topic: string, payload: string): Promise<void> {
  client.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
  const answered = client.publishAsync(topic, payload, { qos: 1, retain: true }).catch(() => undefined);
  await Promise.race([answered, closed]);
  await client.endAsync(true);
}

/** What a client is sent when it subscribes: topics with their payloads. */
async function replayed(client: MqttClient, filters: readonly string[]): Promise<Map<string, string>> {
  const kept = new Map<string, string>();
  client.removeAllListeners("message");
  client.on("message", (topic, payload, { retain }) => {
    if (retain && payload.length > 0) kept.set(topic, payload.toString());
  });
  await Promise.all(filters.map((filter) => client.subscribeAsync(filter, { qos: 0 })));
  // These answers come after everything that the first ones brought.
  await Promise.all(filters.map((filter) => client.unsubscribeAsync(filter)));
  return kept;
}
