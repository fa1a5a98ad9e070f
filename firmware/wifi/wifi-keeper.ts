/** Keeps a station joined: does what {@link WifiState} says with ECMA-419 Wi-Fi. */
import { errorMessage } from "../../sdk/errors.js";
import type { Cancel, Clock, Log, Network, Scheduler } from "../../sdk/platform.js";
import type { WifiConstructor, WifiInterface } from "../io/ecma419.js";
import { DEFAULT_WIFI_POLICY, WifiState, type WifiEffect, type WifiEvent, type WifiPolicy } from "./wifi-state.js";

export interface WifiKeeperParts {
  WiFi: WifiConstructor;
  clock: Clock;
  scheduler: Scheduler;
  /** Uniform in [0, 1). */
  fraction: () => number;
  log: Log;
}

export interface WifiNetwork {
  ssid: string;
  /** Left out for an open network. */
  password?: string;
}

export class WifiKeeper implements Network {
  readonly #listeners = new Set<() => void>();
  readonly #parts: WifiKeeperParts;
  readonly #network: WifiNetwork;
  readonly #state: WifiState;
  #wifi: WifiInterface | undefined;
  #cancelWait: Cancel = () => undefined;

  constructor(parts: WifiKeeperParts, network: WifiNetwork, policy: WifiPolicy = DEFAULT_WIFI_POLICY) {
    this.#parts = parts;
    this.#network = network;
    this.#state = new WifiState(policy, parts.fraction);
  }

  /** Joins, and stays joined until {@link stop}. Idempotent. */
  start(): void {
    this.#on("start");
  }

  stop(): void {
    this.#on("stop");
  }

  /** Something answered from beyond the access point: the network is what it says it is. */
  proof(): void {
    this.#on("proof");
  }

  /** The station has got an address. */
  get isUp(): boolean {
    return this.#state.isUp;
  }

  onChange(changed: () => void): Cancel {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  }

  /** Strength of the access point's signal, dBm (about -90..-30). */
  get signalDbm(): number | undefined {
    return this.#wifi?.RSSI;
  }

  #on(event: WifiEvent): void {
    for (const effect of this.#state.on(event, this.#parts.clock.monotonicMs())) this.#do(effect);
  }

  #do(effect: WifiEffect): void {
    switch (effect.kind) {
      case "wait":
        this.#cancelWait();
        this.#cancelWait = this.#parts.scheduler.after(effect.delayMs, () => this.#on("elapsed"));
        return;
      case "idle":
        return this.#cancelWait();
      case "connect":
        return this.#connect();
      case "disconnect":
        return this.#wifi?.disconnect();
      case "up":
        this.#parts.log("info", "Wi-Fi is up", { ssid: this.#network.ssid });
        return this.#tell();
      case "down":
        this.#parts.log("warn", "Wi-Fi is down", { ssid: this.#network.ssid, reason: effect.reason });
        return this.#tell();
    }
  }

  /** Listeners may come and go while they are told. */
  #tell(): void {
    for (const changed of [...this.#listeners]) changed();
  }

  #connect(): void {
    const { ssid, password } = this.#network;
    try {
      this.#wifi ??= new this.#parts.WiFi({ onChanged: () => this.#changed() });
      this.#wifi.connect(password === undefined ? { SSID: ssid } : { SSID: ssid, password });
    } catch (error) {
      this.#parts.log("warn", "Wi-Fi refused to connect", { reason: errorMessage(error) });
      this.#parts.scheduler.after(0, () => this.#on("refused"));
    }
  }

  #changed(): void {
    const connection = this.#wifi?.connection;
    if (connection !== undefined) this.#on({ connection });
  }
}
