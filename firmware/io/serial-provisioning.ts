/** The device's half of the factory protocol on a serial port. */
import { errorMessage, HawserError } from "../../sdk/errors.js";
import type { KeyStore, Log, Storage } from "../../sdk/platform.js";
import { isProvisioned, ProvisioningAgent } from "../../sdk/provisioning/agent.js";
import type { BoardFacts } from "../../sdk/provisioning/messages.js";
import { SerialPort, type SerialConstructor, type SerialSettings } from "./serial-port.js";

export interface SerialProvisioningParts {
  Serial: SerialConstructor;
  settings: SerialSettings;
  storage: Storage;
  keyStore: KeyStore;
  log: Log;
  /** See `AgentParts.knownTimeMs`. */
  floorMs: () => number;
  /** See `AgentParts.board`. */
  board?: BoardFacts;
}

/**
 * Resolves when the device has an identity: at once where it has one, else when a station has given it one and is done. From then on the
 * agent stays on the port, where it says what the device is and takes nothing.
 * @throws HawserError `SERIAL_FAILED` when the device has no identity and the port cannot be had, or is lost before it has one
 */
export function provisionedOverSerial(parts: SerialProvisioningParts): Promise<void> {
  const { storage, log } = parts;
  const wasProvisioned = isProvisioned(storage);
  return new Promise((resolve, reject) => {
    const onLost = (): void => {
      if (isProvisioned(storage)) return resolve();
      reject(
        new HawserError(
          "SERIAL_FAILED",
          "the serial port was lost before a station provisioned the device",
          "Reconnect it and restart the program.",
        ),
      );
    };
    try {
      listen(parts, resolve, onLost);
      if (!wasProvisioned) log("info", "no identity yet: waiting on the serial port for a station");
    } catch (error) {
      const failed = new HawserError(
        "SERIAL_FAILED",
        `no serial port: ${errorMessage(error)}`,
        "Set the port and pins in the board's options. In a debug build, the debugger uses the USB port.",
      );
      if (!wasProvisioned) return reject(failed);
      log("debug", failed.message);
    }
    if (wasProvisioned) resolve();
  });
}

function listen(
  { Serial, settings, storage, keyStore, floorMs, board }: SerialProvisioningParts,
  onDone: () => void,
  onLost: () => void,
): void {
  const write = (bytes: Uint8Array): void => port.write(bytes);
  const agent = new ProvisioningAgent({ storage, keyStore, write, knownTimeMs: floorMs, onDone, ...(board && { board }) });
  const port = new SerialPort(Serial, settings, (bytes) => agent.receive(bytes), onLost);
}
