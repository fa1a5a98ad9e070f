/** `MqttClient.connect(url, options)`: an MQTT client on Node that keeps its connection by itself, with the usual defaults. */
import { randomBytes } from "node:crypto";
import { Backoff, DEFAULT_BACKOFF, type BackoffPolicy } from "../../sdk/backoff.js";
import { HawserError } from "../../sdk/errors.js";
import { ConnectError } from "../../sdk/mqtt/contract/connect-error.js";
import { MqttClient as LinkedClient } from "../../sdk/mqtt/client.js";
import type { DisconnectOptions, MqttOptions } from "../../sdk/mqtt/contract/options.js";
import type { Cancel, Log, Storage } from "../../sdk/platform.js";
import { outboundProxy } from "./outbound-proxy.js";
import { nodeClock } from "./node-clock.js";
import { nodeRandom } from "./node-random.js";
import { nodeScheduler } from "./node-scheduler.js";
import { dialUrl, parseBrokerUrl, type BrokerUrl, type UrlTlsOptions } from "./url-link.js";

/**
 * All options of {@link MqttOptions}, none of them required. The client id is `hawser-` and random letters where none is given, with a
 * clean start; with an id of your own and `cleanStart: false`, the broker keeps the session.
 */
export interface UrlClientOptions extends Partial<MqttOptions>, UrlTlsOptions {
  /** Bounds DNS, TCP and TLS together, milliseconds; default 20000. */
  connectTimeoutMs?: number;
  /**
   * Proxy to go through: `http://proxy:3128`, `https://proxy` or `socks5://proxy:1080`, also with `user:password@`. Needs TLS. Default:
   * none.
   */
  proxy?: string;
  /** When to connect again after a connection ended; default 1 to 120 s with full jitter. False: never. */
  reconnect?: Partial<BackoffPolicy> | false;
  /** Where a `persistent` client keeps its messages. */
  storage?: Storage;
  /** Default: says nothing. */
  log?: Log;
}

/**
 * @example
 * const client = await MqttClient.connect("mqtts://localhost:8883", { ca: readFileSync("ca.pem"), username: "gateway", password });
 * await client.publish("hello", "world", { qos: 1 });
 * await client.disconnect();
 */
export class MqttClient extends LinkedClient {
  readonly #dial: () => Promise<unknown>;
  readonly #backoff: Backoff | undefined;
  #connectedAtMs = 0;
  #cancelRetry: Cancel | undefined;
  #isLeaving = false;

  private constructor(target: BrokerUrl, given: UrlClientOptions) {
    const {
      ca,
      cert,
      key,
      serverName,
      connectTimeoutMs = 20_000,
      proxy,
      reconnect = {},
      storage,
      log = (): void => undefined,
      ...options
    } = given;
    const platform = { clock: nodeClock, scheduler: nodeScheduler(), random: nodeRandom, log };
    const { username, password } = target;
    const login = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
    super({ clientId: `hawser-${randomBytes(8).toString("hex")}`, ...login, ...options }, platform, storage);
    const tls = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}), ...(serverName ? { serverName } : {}) };
    const way = proxy === undefined ? undefined : outboundProxy(proxy);
    this.#dial = () => super.connect((handlers) => dialUrl(target, tls, connectTimeoutMs, handlers, way));
    if (reconnect === false) return;
    this.#backoff = new Backoff({ ...DEFAULT_BACKOFF, ...reconnect }, () => nodeRandom.fraction());
    this.listen((event) => {
      if (event.type === "connected") this.#connectedAtMs = nodeClock.monotonicMs();
      if (event.type !== "disconnected") return;
      this.#backoff?.ended(nodeClock.monotonicMs() - this.#connectedAtMs, this.wasUseful);
      this.#retry(platform.scheduler, event.code === "SESSION_TAKEN_OVER");
    });
  }

  /**
   * Connects, and from then on connects again by itself until {@link disconnect}.
   * @param url `mqtts://host:8883`, `wss://host/mqtt` (WebSocket), or `mqtt://` and `ws://` without TLS; a user name and password in it count where the options give none
   * @throws HawserError `BAD_URL`, `BAD_OPTION`; ConnectError when the first attempt fails, which is not repeated
   */
  static async connect(url: string, options: UrlClientOptions = {}): Promise<MqttClient> {
    const target = parseBrokerUrl(url);
    if ((options.cert === undefined) !== (options.key === undefined)) throw badOption("cert and key must be given together");
    if (!target.isTls && (options.ca ?? options.cert) !== undefined) throw badOption("ca, cert and key need TLS: a mqtts:// or wss:// URL");
    if (!target.isTls && options.proxy !== undefined)
      throw badOption("a proxy could read and change a connection without TLS: it needs a mqtts:// or wss:// URL");
    const client = new MqttClient(target, options);
    await client.#dial();
    return client;
  }

  /** Ends the connection, and connects no more. */
  override disconnect(options?: DisconnectOptions): Promise<void> {
    this.#isLeaving = true;
    this.#cancelRetry?.();
    return super.disconnect(options);
  }

  /** @param isTakenOver another client with the same id is there: whoever comes back at once is thrown out at once */
  #retry(scheduler: { after(delayMs: number, run: () => void): Cancel }, isTakenOver = false): void {
    if (this.#isLeaving || this.#backoff === undefined) return;
    const delayMs = this.#backoff.next(isTakenOver ? DEFAULT_BACKOFF.stableAfterMs : 0);
    this.#cancelRetry = scheduler.after(delayMs, () => {
      this.#dial().catch((error: unknown) => {
        if (error instanceof ConnectError) this.#retry(scheduler);
      });
    });
  }
}

function badOption(what: string): HawserError {
  return new HawserError("BAD_OPTION", what, "See UrlClientOptions for what is possible.");
}
