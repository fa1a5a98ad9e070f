/**
 * The firmware of a simulated board, the same on every engine: the device's own provisioning agent on the line, and once there is an
 * identity a device that connects by mutual TLS and publishes.
 */
import { Device } from "../../sdk/device/device.js";
import type { Platform } from "../../sdk/platform.js";
import { isProvisioned, ProvisioningAgent } from "../../sdk/provisioning/agent.js";
import type { BoardParts } from "./board-engine.js";

export interface RunningFirmware {
  /** Bytes from the line. */
  receive(bytes: Uint8Array): void;
  stop(): Promise<void>;
}

export function runBoardFirmware(platform: Platform, { about, broker, write }: BoardParts): RunningFirmware {
  const { storage, keyStore } = platform;
  let device: Device | undefined;
  const connect = (): void => {
    if (broker === undefined || device !== undefined) return;
    const made = new Device({ broker, buildTimeMs: 0, backoff: { baseMs: 100, capMs: 1_000, floorMs: 50 } }, platform);
    device = made;
    made.listen((event) => {
      // Not awaited: a board that is unplugged leaves its message unsent.
      if (event.type === "connected") made.publish("up/hello", JSON.stringify({ mac: about.mac })).catch(() => undefined);
    });
    made.start();
  };
  const agent = new ProvisioningAgent({ storage, keyStore, board: about, write, knownTimeMs: () => 0, onDone: connect });
  if (isProvisioned(storage)) connect();
  return {
    receive: (bytes) => agent.receive(bytes),
    stop: async () => device?.stop(),
  };
}
