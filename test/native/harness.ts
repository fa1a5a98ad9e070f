/** The native engine and key store as the tests see them: the C harness run as a command, one key directory a `NativeDevice`. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { runner32 } from "../../sim/xs/thirty-two-bits.js";
import { buildHarness } from "./build-harness.mjs";

const run = promisify(execFile);
/** Bounds on liveness: a harness that hangs is killed. */
const SHORT_RUN_MS = 110_000;
const LONG_RUN_MS = 4 * 3_600_000;

/** `tls_state`, `tls_failure_kind`, `TLS_VERIFY_` and `key_store_status` of the C headers. */
export const State = { handshaking: 1, open: 2, closed: 3, failed: 4 } as const;
export const Kind = {
  none: 0,
  alert: 1,
  verify: 2,
  protocol: 3,
  noMemory: 4,
  keyMissing: 5,
  keyMismatch: 6,
  configuration: 7,
  internal: 8,
} as const;
export const Verify = { expired: 1, notYetValid: 2, nameMismatch: 4, caUnknown: 8, invalid: 16 } as const;
export const Status = { ok: 0, missing: 1, unknownSlot: 2, badArgument: 3 } as const;
export const TLS_1_2 = 0x0303;
export const TLS_1_3 = 0x0304;

export interface ConnectionResult {
  state: number;
  opened: boolean;
  kind: number;
  alert: number;
  serverProved: boolean;
  verifyFlags: number;
  detail: number;
  version: number;
  cipherSuite: number;
  resumed: boolean;
  alpnAccepted: boolean;
  flights: number;
  received: number;
  head: string;
  peakInHandshake: number;
  liveAfterHandshake: number;
  peakAfterHandshake: number;
  liveBytes: number;
  liveBlocks: number;
}

export interface Starvation {
  /** Whether all went well before the first failure and after the last. */
  good: boolean;
  allocations: number;
  /** Attempts that succeeded although an allocation failed. */
  survived: number;
  leaks: number;
  /** Volatile keys that Mbed TLS left behind in PSA. */
  strandedKeys: number;
  /** How many engines ended with each `Kind`; after them those that could not be created. */
  kinds: number[];
  /** The alerts that servers sent them. */
  alerts: number[];
}

export interface ConnectionSettings {
  port: number;
  name?: string;
  timeMs?: number;
  anchors?: readonly Uint8Array[];
  chain?: readonly Uint8Array[];
  keySlot?: string;
  psk?: { slot: string; identity: string };
  minimum?: number;
  maximum?: number;
  suites?: readonly number[];
  fragment?: number;
  alpn?: string;
  send?: Uint8Array;
  bulkBytes?: number;
  wantBytes?: number;
  /** Uses the session that all connections of one `connect` share. */
  session?: boolean;
  stride?: number;
}

/** An MQTT 3.1.1 CONNECT with a clean session. */
export function mqttConnect(clientId: string): Uint8Array {
  const id = Buffer.from(clientId);
  return Buffer.concat([Buffer.from([0x10, 12 + id.length, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, id.length]), id]);
}

/** The CONNACK that answers it. */
export const CONNACK = "20020000";

export class NativeDevice {
  #files = 0;

  private constructor(
    readonly executable: string,
    /** What goes before it on a command line. */
    private readonly runner: readonly string[],
    readonly folder: string,
  ) {}

  static async create(options: { bits?: 32 | 64; sanitize?: boolean; internals?: boolean } = { sanitize: true }): Promise<NativeDevice> {
    return new NativeDevice(
      await buildHarness(options),
      options.bits === 32 ? await runner32() : [],
      await mkdtemp(join(tmpdir(), "hawser-native-")),
    );
  }

  get keyFolder(): string {
    return join(this.folder, "keys");
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  async keys(...words: string[]): Promise<{ status: number; bytes: Buffer; has: boolean | undefined }> {
    const [line] = await this.#run(["keys", ...words]);
    const answer = JSON.parse(line ?? "") as { status: number; bytes?: string; has?: boolean };
    return { status: answer.status, bytes: Buffer.from(answer.bytes ?? "", "hex"), has: answer.has };
  }

  /** Connections one after the other in one process. */
  async connect(...all: ConnectionSettings[]): Promise<ConnectionResult[]> {
    const groups = await Promise.all(all.map((settings) => this.words(settings)));
    const lines = await this.#run(["connect", ...groups.flatMap((words, index) => (index === 0 ? words : ["--", ...words]))]);
    return lines.map((line) => JSON.parse(line) as ConnectionResult);
  }

  /** The one result of a single connection. */
  async connectOnce(settings: ConnectionSettings): Promise<ConnectionResult> {
    const [result] = await this.connect(settings);
    if (!result) throw new Error("the harness printed no result");
    return result;
  }

  /** Whether the engine finds a device's own chain to lead to one of the anchors. */
  async leadsTo(chain: readonly Uint8Array[], anchors: readonly Uint8Array[]): Promise<boolean> {
    const [line] = await this.#run(["chain", ...(await this.words({ port: 1, chain, anchors }))]);
    return (JSON.parse(line ?? "") as { leads: boolean }).leads;
  }

  async starve(settings: ConnectionSettings): Promise<Starvation> {
    const [line] = await this.#run(["starve", ...(await this.words(settings))], LONG_RUN_MS);
    return JSON.parse(line ?? "") as Starvation;
  }

  /** In heaps that grow by `settings.stride` bytes; `allocations` is then the room that was enough. */
  async squeeze(settings: ConnectionSettings): Promise<Starvation> {
    const [line] = await this.#run(["squeeze", ...(await this.words(settings))]);
    return JSON.parse(line ?? "") as Starvation;
  }

  async starveKeys(stride: number): Promise<Starvation> {
    const [line] = await this.#run(["starve-keys", `stride=${stride}`], LONG_RUN_MS);
    return JSON.parse(line ?? "") as Starvation;
  }

  /** Fails on any exit but 0: leaks, sanitizers and a stuck engine all end otherwise. */
  async #run(words: string[], timeoutMs = SHORT_RUN_MS): Promise<string[]> {
    const [command = this.executable, ...parameters] = [...this.runner, this.executable];
    const { stdout } = await run(command, [...parameters, this.keyFolder, ...words], { timeout: timeoutMs, killSignal: "SIGKILL" });
    return stdout.split("\n").filter((line) => line !== "");
  }

  /** The words of settings.h; certificates go into files. */
  async words(settings: ConnectionSettings): Promise<string[]> {
    const words = [`port=${settings.port}`, `name=${settings.name ?? "localhost"}`, `time=${settings.timeMs ?? Date.now()}`];
    const add = (name: string, value: string | number | undefined): void => {
      if (value !== undefined) words.push(`${name}=${value}`);
    };
    for (const der of settings.anchors ?? []) add("anchor", await this.#file(der));
    for (const der of settings.chain ?? []) add("certificate", await this.#file(der));
    for (const suite of settings.suites ?? []) add("suite", suite);
    add("key", settings.keySlot);
    add("psk", settings.psk?.slot);
    add("identity", settings.psk?.identity);
    add("minimum", settings.minimum);
    add("maximum", settings.maximum);
    add("fragment", settings.fragment);
    add("alpn", settings.alpn);
    add("send", settings.send && Buffer.from(settings.send).toString("hex"));
    add("bulk", settings.bulkBytes);
    add("want", settings.wantBytes);
    add("stride", settings.stride);
    if (settings.session) words.push("session=1");
    return words;
  }

  async #file(bytes: Uint8Array): Promise<string> {
    const path = join(this.folder, `${this.#files++}.der`);
    await writeFile(path, bytes);
    return path;
  }
}
