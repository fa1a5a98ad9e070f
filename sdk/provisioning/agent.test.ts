import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { Flash } from "../../sim/virtual/power/flash.js";
import { PowerCut, PowerSupply } from "../../sim/virtual/power/power-supply.js";
import { IdentityStore } from "../identity/store.js";
import { issueFor, type IssueOptions } from "../../test/support/device/test-issuer.js";
import type { KeyStore } from "../platform.js";
import { ProvisioningAgent } from "./agent.js";
import { encodeFrame } from "./frames.js";
import { proofInput } from "./messages.js";
import { base64, framesOf, newRequestId, WrittenByDevice, type Answer } from "../../test/support/device/test-station.js";

const NONCE = new Uint8Array(32).fill(9);
const KNOWN_TIME_MS = Date.now() - 10_000;
const PSK = Uint8Array.from({ length: 32 }, (_, i) => i);

/** A device whose flash outlives its power-ons. */
class Board {
  readonly flash = new Flash(20_000);
  readonly keys = memoryKeyStore();
  power = new PowerSupply();
  done = 0;
  #written = new WrittenByDevice();
  #agent!: ProvisioningAgent;

  constructor() {
    this.start();
  }

  start(): void {
    this.power = new PowerSupply();
    this.#written = new WrittenByDevice();
    const power = this.power;
    this.#agent = new ProvisioningAgent({
      storage: this.flash.open(power),
      keyStore: this.#poweredKeys(power),
      write: (bytes) => {
        power.check();
        this.#written.write(bytes);
      },
      knownTimeMs: () => KNOWN_TIME_MS,
      onDone: () => this.done++,
    });
  }

  get acknowledged(): number {
    return this.#written.acknowledged;
  }

  receive(bytes: Uint8Array): Answer[] {
    this.#agent.receive(bytes);
    return this.#written.answers.splice(0);
  }

  /** The one answer to a request. */
  ask(type: string, fields: object = {}): Answer {
    const answers = this.receive(framesOf({ type, ...fields }));
    expect(answers).toHaveLength(1);
    return answers[0]!;
  }

  hello(): Answer {
    return this.ask("hello", { nonce: base64(NONCE) });
  }

  store(): IdentityStore {
    return IdentityStore.load(this.flash.open(new PowerSupply()), this.keys);
  }

  #poweredKeys(power: PowerSupply): KeyStore {
    const { keys } = this;
    return {
      generate: (slot) => power.change(() => keys.generate(slot)),
      mac: (slot, data) => keys.mac(slot, data),
      importPsk: (slot, key) => power.change(() => keys.importPsk(slot, key)),
      destroy: (slot) => power.change(() => keys.destroy(slot)),
      csr: (slot, name) => keys.csr(slot, name),
      sign: (slot, data) => keys.sign(slot, data),
      publicKey: (slot) => keys.publicKey(slot),
      has: (slot) => keys.has(slot),
    };
  }
}

const bytesOf = (answer: Answer, field: string): Uint8Array => new Uint8Array(Buffer.from(String(answer[field]), "base64"));
const codeOf = (answer: Answer): string | undefined => answer.error?.code;

function isProved(publicKey: Uint8Array, answer: Answer): boolean {
  const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
  return verify("sha256", proofInput(NONCE), { key, dsaEncoding: "ieee-p1363" }, bytesOf(answer, "proof"));
}

async function installation(csr: Uint8Array, options: IssueOptions = {}, id = "sensor-1"): Promise<object> {
  const leaf = base64(await issueFor(csr, options));
  return { id, role: "sensor", chain: [leaf], trustAnchors: [leaf], psk: { identity: id, key: base64(PSK) } };
}

/** From hello to done, as a station goes; whether the device was empty at first. */
async function provision(board: Board): Promise<void> {
  if (board.hello()["state"] === "empty") {
    const made = board.ask("generate", { id: "sensor-1" });
    const answer = board.ask("install", await installation(bytesOf(made, "csr")));
    expect(answer).toMatchObject({ state: "provisioned", id: "sensor-1" });
  }
  expect(board.ask("done").error).toBeUndefined();
}

describe("ProvisioningAgent", () => {
  it("takes a device from empty to an identity that can be used, proved and read back", async () => {
    const board = new Board();
    expect(board.hello()).toMatchObject({ v: 1, state: "empty" });
    const made = board.ask("generate", { id: "sensor-1" });
    expect(isProved(board.keys.publicKey("key-a"), made)).toBe(true);
    const request = await installation(bytesOf(made, "csr"), { serialNumber: "0abc" });
    expect(board.ask("install", request)).toMatchObject({ state: "provisioned", id: "sensor-1", role: "sensor", serial: "abc" });
    const status = board.ask("status");
    expect(status["serial"]).toBe("abc");
    expect(isProved(bytesOf(status, "publicKey"), status)).toBe(true);
    board.ask("done");
    expect(board.done).toBe(1);
    expect(board.store().device).toMatchObject({ id: "sensor-1", role: "sensor", pskIdentity: "sensor-1" });
    expect(board.store().active?.certificate.serial).toBe("abc");
    expect(board.keys.psk("psk")).toEqual(Buffer.from(PSK));
  });

  it("gives a request for the same key until asked to replace it, also after a restart", () => {
    const board = new Board();
    const keyOf = (fields: object = {}): string => {
      board.hello();
      board.ask("generate", { id: "sensor-1", ...fields });
      return base64(board.keys.publicKey("key-a"));
    };
    const first = keyOf();
    expect(keyOf()).toBe(first);
    board.start();
    expect(keyOf()).toBe(first);
    expect(keyOf({ replace: true })).not.toBe(first);
  });

  it("does what a request asks once, and gives its answer as often as it comes", () => {
    const board = new Board();
    board.hello();
    const frames = framesOf({ type: "generate", id: "sensor-1", replace: true, requestId: newRequestId() });
    const [first] = board.receive(frames);
    expect(board.receive(frames)).toEqual([first]);
  });

  it("wants a hello first, also after each restart", () => {
    const board = new Board();
    for (const type of ["status", "done", "generate"]) expect(codeOf(board.ask(type, { id: "x" }))).toBe("WRONG_STATE");
    board.hello();
    board.start();
    expect(codeOf(board.ask("generate", { id: "x" }))).toBe("WRONG_STATE");
    board.hello();
    expect(codeOf(board.ask("done"))).toBe("WRONG_STATE");
    expect(board.done).toBe(0);
  });

  it.each([
    ["for another name", "WRONG_SUBJECT", { subject: "CN=sensor-2" }],
    [
      "that ended before the firmware was built",
      "BAD_CERTIFICATE",
      { notBefore: new Date(1_000_000), notAfter: new Date(KNOWN_TIME_MS - 1_000) },
    ],
    ["that ends before it begins", "BAD_CERTIFICATE", { notBefore: new Date(Date.now() + 9e6), notAfter: new Date(Date.now() + 8e6) }],
  ])("refuses a certificate %s", async (_what, code, options) => {
    const board = new Board();
    board.hello();
    const csr = bytesOf(board.ask("generate", { id: "sensor-1" }), "csr");
    expect(codeOf(board.ask("install", await installation(csr, options)))).toBe(code);
    expect(board.flash.writes).toBe(0);
    expect(board.hello()["state"]).toBe("empty");
    expect(board.ask("install", await installation(csr)).error).toBeUndefined();
  });

  it("refuses a certificate for another key, and one before it has a key at all", async () => {
    const [board, other] = [new Board(), new Board()];
    other.hello();
    const request = await installation(bytesOf(other.ask("generate", { id: "sensor-1" }), "csr"));
    board.hello();
    expect(codeOf(board.ask("install", request))).toBe("KEY_MISSING");
    board.ask("generate", { id: "sensor-1" });
    expect(codeOf(board.ask("install", request))).toBe("KEY_MISMATCH");
    expect(board.flash.writes).toBe(0);
  });

  it("goes where it is told that its topics are, and refuses what cannot be topics", async () => {
    const board = new Board();
    board.ask("hello", { nonce: base64(NONCE) });
    const request = await installation(bytesOf(board.ask("generate", { id: "sensor-1" }), "csr"));
    for (const topics of ["sites/b1", { base: "sites/b1" }, { base: "sites/#", identity: "fleet/x" }])
      expect(codeOf(board.ask("install", { ...request, topics }))).toBe("BAD_REQUEST");
    board.ask("install", { ...request, topics: { base: "sites/b1/sensor-1", identity: "fleet/sensor-1" } });
    const { base, identityBase } = IdentityStore.load(board.flash.open(new PowerSupply()), board.keys);
    expect([base, identityBase]).toEqual(["sites/b1/sensor-1", "fleet/sensor-1"]);
  });

  it("changes nothing once it has an identity, but says again that it has what is installed again", async () => {
    const board = new Board();
    board.hello();
    const csr = bytesOf(board.ask("generate", { id: "sensor-1" }), "csr");
    const request = await installation(csr);
    board.ask("install", request);
    const key = base64(board.keys.publicKey("key-a"));
    const before = board.flash.writes;
    board.start();
    board.hello();
    expect(board.ask("install", request)).toMatchObject({ state: "provisioned", id: "sensor-1" });
    expect(codeOf(board.ask("install", await installation(csr)))).toBe("ALREADY_PROVISIONED");
    expect(codeOf(board.ask("generate", { id: "sensor-1", replace: true }))).toBe("ALREADY_PROVISIONED");
    expect(board.flash.writes).toBe(before);
    expect(base64(board.keys.publicKey("key-a"))).toBe(key);
  });

  it("says what went wrong with its flash, and is usable after it", async () => {
    const board = new Board();
    board.hello();
    const request = await installation(bytesOf(board.ask("generate", { id: "sensor-1" }), "csr"));
    for (const record of ["device", "anchors", "chain-a", "identity"]) {
      board.flash.failing = (key) => key === record;
      expect(codeOf(board.ask("install", request))).toBe("STORAGE_FAILED");
    }
    board.flash.failing = () => false;
    expect(board.ask("install", request).error).toBeUndefined();
  });

  it("hears a request between a boot log and noise, in any pieces, and begun again half-way", async () => {
    const board = new Board();
    const log = Buffer.from("ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n\x00\xff\x00");
    const hello = framesOf({ type: "hello", nonce: base64(NONCE) });
    expect(board.receive(Uint8Array.from([...log, ...hello, ...log]))).toHaveLength(1);
    const answers = [...framesOf({ type: "hello", nonce: base64(NONCE) })].flatMap((byte) => board.receive(Uint8Array.of(byte)));
    expect(answers).toHaveLength(1);
    const csr = bytesOf(board.ask("generate", { id: "sensor-1" }), "csr");
    const frames = framesOf({ type: "install", ...(await installation(csr)) });
    const before = board.acknowledged;
    expect(board.receive(frames.subarray(0, 700))).toEqual([]);
    expect(board.acknowledged - before).toBe(5);
    expect(board.receive(frames.subarray(0, 300))).toEqual([]);
    expect(board.receive(frames)).toMatchObject([{ state: "provisioned" }]);
  });

  it("refuses what it cannot read, by the request's id where there is one", () => {
    const board = new Board();
    const requestId = newRequestId();
    expect(board.receive(framesOf({ type: "erase", requestId }))).toMatchObject([{ requestId, error: { code: "BAD_REQUEST" } }]);
    expect(board.receive(framesOf({ v: 7, type: "hello", requestId }))).toMatchObject([
      { requestId, error: { code: "UNSUPPORTED_VERSION" } },
    ]);
    expect(board.receive(framesOf({ type: "hello", requestId: "no" }))).toMatchObject([{ requestId: "", error: { code: "BAD_REQUEST" } }]);
    expect(board.receive(encodeFrame(Uint8Array.of(1, 1, 0, 0, 0, 1, 0xff)))).toMatchObject([
      { requestId: "", error: { code: "BAD_REQUEST" } },
    ]);
  });

  it("never says its pre-shared key", async () => {
    const board = new Board();
    await provision(board);
    const said = JSON.stringify([
      board.hello(),
      board.ask("status"),
      board.ask("install", { ...(await installation(board.keys.csr("key-a", "sensor-1"))) }),
    ]);
    expect(said).not.toContain(base64(PSK).slice(0, 20));
  });
});

describe("a power cut before or after any write of provisioning", () => {
  async function cutAt(point: number): Promise<{ board: Board; wasCut: boolean }> {
    const board = new Board();
    board.power.cutAt(point);
    try {
      await provision(board);
      return { board, wasCut: false };
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      return { board, wasCut: true };
    }
  }

  it("is made good by beginning again with hello, which ends in the one identity that can be used", async () => {
    let points = 0;
    for (; ; points++) {
      const { board, wasCut } = await cutAt(points);
      board.start();
      await provision(board);
      const store = board.store();
      expect(store.active?.certificate.commonName).toBe("sensor-1");
      expect(Buffer.from(store.active!.certificate.publicKey)).toEqual(Buffer.from(board.keys.publicKey("key-a")));
      expect(store.device.pskIdentity).toBe("sensor-1");
      expect(store.trustAnchors).toHaveLength(1);
      expect([...board.flash.snapshot().keys()].sort()).toEqual(["anchors", "chain-a", "device", "identity"]);
      if (!wasCut) break;
    }
    // Key, pre-shared key and four records, each cut before and after.
    expect(points).toBe(12);
  });

  it("can be followed by a second one", async () => {
    for (let first = 0; first < 12; first++) {
      for (let second = first % 3; second < 12; second += 3) {
        const { board } = await cutAt(first);
        board.start();
        board.power.cutAt(second);
        await provision(board).catch((error: unknown) => {
          if (!(error instanceof PowerCut)) throw error;
        });
        board.start();
        await provision(board);
        expect(board.store().active?.certificate.commonName).toBe("sensor-1");
      }
    }
  });
});
