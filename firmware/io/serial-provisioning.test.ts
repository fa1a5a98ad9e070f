import { beforeEach, describe, expect, it } from "vitest";
import type { KeyStore } from "../../sdk/platform.js";
import { encodeFrame } from "../../sdk/provisioning/frames.js";
import { base64, newRequestId, partsOf, WrittenByDevice, type Answer } from "../../test/support/device/test-station.js";
import { FakeSerial } from "../../test/support/firmware/fake-serial.js";
import { FakeNvs } from "../../test/support/firmware/fake-stores.js";
import { keyValueStorage } from "./key-value-storage.js";
import type { SerialConstructor, SerialOptions } from "./serial-port.js";
import { provisionedOverSerial } from "./serial-provisioning.js";

beforeEach(() => {
  FakeSerial.made.length = 0;
});

class Esp32Serial extends FakeSerial {
  constructor(options: SerialOptions) {
    super("esp32", options);
  }
}

const NO_KEYS = { has: () => false } as unknown as KeyStore;

function scene(isProvisioned = false, Serial: SerialConstructor = Esp32Serial) {
  const storage = keyValueStorage(new FakeNvs());
  const provision = (): void => {
    storage.put("device", Buffer.from(JSON.stringify({ v: 1, id: "sensor-1", role: "sensor" })));
    storage.put("identity", Buffer.from(JSON.stringify({ v: 1, active: null })));
  };
  if (isProvisioned) provision();
  const said: string[] = [];
  let outcome = "waiting";
  const ready = provisionedOverSerial({
    Serial,
    settings: { transmit: 1, receive: 3 },
    storage,
    keyStore: NO_KEYS,
    log: (level, message) => said.push(`${level}: ${message}`),
    floorMs: () => 0,
  }).then(
    () => (outcome = "ready"),
    (error: { code: string }) => (outcome = error.code),
  );
  const written = new WrittenByDevice();
  /** Sends a request as a station does, while nobody reads: each part has come as a whole before the device gets a turn. */
  const ask = (type: string, fields: object = {}): Answer | undefined => {
    const fake = FakeSerial.made.at(-1)!;
    for (const part of partsOf(Buffer.from(JSON.stringify({ v: 1, type, requestId: newRequestId(), ...fields })))) {
      fake.receives(encodeFrame(part));
      for (let turns = 0; turns < 10; turns++) fake.turn();
    }
    expect(fake.lost).toBe(0);
    written.write(Uint8Array.from(fake.sent.splice(0)));
    return written.answers.pop();
  };
  return { provision, said, ready, outcome: () => outcome, ask };
}

const nonce = base64(new Uint8Array(32));
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("provisioning on a serial port", () => {
  it("keeps a device without an identity waiting until a station is done with it", async () => {
    const { ask, ready, outcome, provision, said } = scene();
    expect(said).toEqual([expect.stringContaining("info: no identity yet")]);
    expect(ask("hello", { nonce })).toMatchObject({ state: "empty" });
    expect(ask("done")).toMatchObject({ error: { code: "WRONG_STATE" } });
    await settled();
    expect(outcome()).toBe("waiting");
    provision();
    expect(ask("done")?.error).toBeUndefined();
    await ready;
    expect(outcome()).toBe("ready");
  });

  it("lets a device with an identity start at once, and says on the line what it is", async () => {
    const { ask, ready, outcome, said } = scene(true);
    await ready;
    expect(outcome()).toBe("ready");
    expect(said).toEqual([]);
    expect(ask("hello", { nonce })).toMatchObject({ state: "provisioned", id: "sensor-1" });
    expect(ask("generate", { id: "sensor-2" })).toMatchObject({ error: { code: "ALREADY_PROVISIONED" } });
  });

  it("loses nothing of a request as long as the largest in a UART of 128 bytes", () => {
    const { ask } = scene();
    ask("hello", { nonce });
    expect(ask("status", { padding: "x".repeat(8_000) })).toMatchObject({ state: "empty" });
  });

  it("does not wait on a port that is gone: a device without an identity fails, one that has it goes on", async () => {
    const empty = scene();
    FakeSerial.made.at(-1)!.vanishes();
    await empty.ready;
    expect(empty.outcome()).toBe("SERIAL_FAILED");
    const installed = scene();
    installed.provision();
    FakeSerial.made.at(-1)!.vanishes();
    await installed.ready;
    expect(installed.outcome()).toBe("ready");
  });

  it("fails without a port only where there is no identity", async () => {
    const inUse = class {
      constructor() {
        throw new Error("port in use");
      }
    } as unknown as SerialConstructor;
    const empty = scene(false, inUse);
    await empty.ready;
    expect(empty.outcome()).toBe("SERIAL_FAILED");
    const provisioned = scene(true, inUse);
    await provisioned.ready;
    expect(provisioned.outcome()).toBe("ready");
    expect(provisioned.said).toEqual([expect.stringContaining("debug: no serial port: port in use")]);
  });
});
