/**
 * A fake `embedded:network/interface/wifi` as Moddable's for the ESP32 was read (SDK 8.2.3, `modules/io/wifi/esp32`): it never reconnects
 * by itself;
 * `connect` throws while an attempt is under way; `disconnect` tells nobody; `onChanged` comes only when the number really changed.
 */
import type { WifiInterface } from "../../../firmware/io/ecma419.js";

export class FakeWifi implements WifiInterface {
  static readonly made: FakeWifi[] = [];
  static refuses = false;

  readonly calls: string[] = [];
  connection = 200;
  RSSI = -61;
  readonly #onChanged: (property: string) => void;

  constructor(options: { onChanged(property: string): void }) {
    this.#onChanged = (property) => options.onChanged(property);
    FakeWifi.made.push(this);
  }

  connect({ SSID, password }: { SSID: string; password?: string }): void {
    if (this.connection === 300) throw new Error("already connecting");
    this.calls.push(`connect ${SSID} ${password ?? "-"}`);
    if (FakeWifi.refuses) throw new Error("connect failed");
    this.connection = 300;
  }

  disconnect(): void {
    this.calls.push("disconnect");
    this.connection = 200;
  }

  /** The driver's state moves. */
  becomes(connection: number): void {
    if (this.connection === connection) return;
    this.connection = connection;
    this.#onChanged("connection");
  }
}
