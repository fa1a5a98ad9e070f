/**
 * `npm run bench:battery`: what one waking costs (connect, one reading at QoS 1, leave) with a kept TLS session, also with the reading in
 * the flight of CONNECT, beside a full handshake and beside MQTT.js, against a real mosquitto. Each waking is a separate process. Bytes and
 * round trips are counted on the way, by a relay with a latency that makes each flight one.
 */
import { spawn } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { bundleDevice } from "../../../firmware/build/xs-bundle.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import { TEST_SCRYPT_COST } from "../../../sim/node/vault/sealed.js";
import { Vault } from "../../../sim/node/vault/vault.js";
import { buildHost, type Bits } from "../../../sim/xs/host-build.js";
import { nativeParts } from "../../../sim/xs/native-parts.js";
import { startXs } from "../../../sim/xs/xs-run.js";
import { TLS_1_2, TLS_1_3 } from "../../native/harness.js";
import { createWorld, mtls } from "../../native/native-world.js";
import { FlightRelay, type Traffic } from "../../support/node/flight-relay.js";
import { freePort, mtlsListener, startMosquitto } from "../../support/node/test-mosquitto.js";
import { TestCa } from "../../support/node/test-pki.js";
import { no32Bits } from "../../support/xs/pointer-sizes.js";
import { CONFIRMED, type WakingOrder, type WakingResult } from "./waking.js";
import type { XsOrder } from "./waking-xs.js";

const ROUNDS = 7;
const LATENCY_MS = 15;
const FRAGMENT_BYTES = 4_096;
const PASSPHRASE = "of a device that lives for a minute";
const VERSIONS = [
  { version: "TLSv1.3", number: TLS_1_3 },
  { version: "TLSv1.2", number: TLS_1_2 },
] as const;
type Version = (typeof VERSIONS)[number]["version"];

const print = (text: string): void => void process.stdout.write(`${text}\n`);

interface Waking extends WakingResult, Traffic {}

/** @param waking the bundled program of one waking on Node */
export async function bench(waking: string): Promise<void> {
  const room = mkdtempSync(join(tmpdir(), "hawser-battery-"));
  const cleanUp: (() => unknown)[] = [() => rmSync(room, { recursive: true, force: true })];
  try {
    const ca = await TestCa.create("bench");
    const relay = await startBroker(room, ca, cleanUp);
    const devices = [await nodeDevice(room, ca, waking), await nodeDevice(room, ca, waking, "mqtt.js"), await xsDevice(room, ca)];
    print(`${"one waking, medians of " + String(ROUNDS)} ${" ".repeat(21)} bytes sent  received  round trips   CPU ms  byte codes`);
    for (const { version } of VERSIONS) {
      for (const device of devices) {
        for (const way of device.canKeep ? WAYS : WAYS.slice(0, 1)) {
          print(row(`${device.name}, ${version.slice(3)}, ${way.name}`, await median(relay, device, version, way)));
        }
      }
    }
    if (no32Bits === undefined) await showTlsHeap();
  } finally {
    for (const clean of cleanUp.reverse()) await clean();
  }
}

interface Way {
  name: string;
  keepSessions: boolean;
  messagesWithConnect: number;
}

const WAYS: readonly Way[] = [
  { name: "full handshake", keepSessions: false, messagesWithConnect: 0 },
  { name: "resumed", keepSessions: true, messagesWithConnect: 0 },
  { name: "resumed, one flight", keepSessions: true, messagesWithConnect: 1 },
];

interface Waker {
  name: string;
  canKeep: boolean;
  /** @param confirmed called when the broker has the reading, before the client leaves */
  wake(port: number, version: Version, way: Way, confirmed: () => void): Promise<WakingResult>;
}

async function median(relay: FlightRelay, device: Waker, version: Version, way: Way): Promise<Waking> {
  const keeps = way.keepSessions;
  const wakings: Waking[] = [];
  // The first one leaves what the second resumes.
  for (let round = keeps ? -1 : 0; round < ROUNDS; round++) {
    let roundTrips = 0;
    const result = await device.wake(relay.port, version, way, () => ({ roundTrips } = relay.traffic));
    const traffic = { ...relay.taken(), roundTrips };
    if (round >= 0 && result.resumed !== keeps) throw new Error(`${device.name} on ${version} ${keeps ? "did not resume" : "resumed"}`);
    if (round >= 0) wakings.push({ ...result, ...traffic });
  }
  const of = (key: "up" | "down" | "roundTrips" | "cpuMicros" | "byteCodes"): number =>
    wakings.map((waking) => waking[key] ?? NaN).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? NaN;
  return {
    resumed: keeps,
    up: of("up"),
    down: of("down"),
    roundTrips: of("roundTrips"),
    cpuMicros: of("cpuMicros"),
    byteCodes: of("byteCodes"),
  };
}

function row(name: string, { up, down, roundTrips, cpuMicros = NaN, byteCodes = NaN }: Waking): string {
  const cell = (value: number, width: number, digits = 0): string =>
    (Number.isNaN(value) ? "" : value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits })).padStart(
      width,
    );
  const cells = [cell(up, 10), cell(down, 9), cell(roundTrips, 12), cell(cpuMicros / 1_000, 8, 1), cell(byteCodes, 11)];
  return `${name.padEnd(52)} ${cells.join(" ")}`.trimEnd();
}

async function startBroker(room: string, ca: TestCa, cleanUp: (() => unknown)[]): Promise<FlightRelay> {
  const port = await freePort();
  const server = await ca.server(["localhost"]);
  const files = { "ca.pem": ca.caPem, "server.pem": server.chainPem, "server.key": server.keyPem };
  const broker = await startMosquitto(room, "broker", files, mtlsListener(port));
  const relay = await FlightRelay.start(port, LATENCY_MS);
  cleanUp.push(
    () => broker.stop(),
    () => relay.close(),
  );
  return relay;
}

async function nodeDevice(room: string, ca: TestCa, waking: string, client: WakingOrder["client"] = "hawser"): Promise<Waker> {
  const id = client === "hawser" ? "sensor-1" : "sensor-2";
  const path = join(room, id);
  const order = {
    client,
    id,
    vault: path,
    passphrase: PASSPHRASE,
    keyFile: `${path}.key`,
    certificateFile: `${path}.pem`,
    caFile: `${path}-ca.pem`,
  };
  if (client === "hawser") {
    const vault = Vault.create(path, PASSPHRASE, { scryptCost: TEST_SCRYPT_COST });
    vault.keyStore.generate("key-a");
    const chain = await ca.clientChain(vault.keyStore.publicKey("key-a"), id);
    installIdentity(vault.storage, vault.keyStore, { id, role: "sensor", chain, trustAnchors: ca.trustAnchors });
    vault.close();
  } else {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const chain = await ca.clientChain(publicKey.export({ type: "spki", format: "der" }), id);
    writeFileSync(order.keyFile, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    writeFileSync(order.certificateFile, chain.map((der) => new X509Certificate(der).toString()).join(""));
    writeFileSync(order.caFile, ca.caPem);
  }
  return {
    name: client === "hawser" ? "Hawser on Node" : "MQTT.js",
    canKeep: client === "hawser",
    async wake(port, version, { keepSessions, messagesWithConnect }, confirmed) {
      const given: WakingOrder = { ...order, port, version, keepSessions, messagesWithConnect };
      const child = spawn(process.execPath, [waking, JSON.stringify(given)], { stdio: ["pipe", "pipe", "inherit"] });
      const lines: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line);
        if (line !== CONFIRMED) continue;
        confirmed();
        child.stdin.end();
      }
      return JSON.parse(lines.at(-1) ?? "") as WakingResult;
    },
  };
}

async function xsDevice(room: string, ca: TestCa): Promise<Waker> {
  const bits: Bits = no32Bits === undefined ? 32 : 64;
  const native = await nativeParts(bits);
  await buildHost({ bits, native });
  const entry = join(packageRoot(), "test", "bench", "battery", "waking-xs.ts");
  const program = (await bundleDevice({ entry, outputFile: join(room, "waking-xs.mjs") })).file;
  const [keysFolder, storageFolder] = [join(room, "keys"), join(room, "records")];
  for (const folder of [keysFolder, storageFolder]) mkdirSync(folder);
  /** The answers of one program to these orders. */
  const ask = async (orders: readonly XsOrder[], answered: () => void = () => undefined): Promise<Record<string, unknown>> => {
    const xs = await startXs({ program, bits, native, keysFolder, storageFolder, inRom: "code" });
    let answer: Record<string, unknown> = {};
    for (const [at, order] of orders.entries()) {
      xs.send(order);
      answer = await xs.message(() => true, at);
      if (answer["failed"] !== undefined) throw new Error(`the waking on XS failed: ${String(answer["failed"])}`);
      if (at === 0) answered();
    }
    xs.endInput();
    await xs.exited;
    return answer;
  };
  const { publicKey } = await ask([{ do: "key" }]);
  const chain = await ca.clientChain(Buffer.from(String(publicKey), "base64"), "sensor-3");
  const base64 = (list: readonly Uint8Array[]): string[] => list.map((der) => Buffer.from(der).toString("base64"));
  await ask([{ do: "install", id: "sensor-3", chain: base64(chain), trustAnchors: base64(ca.trustAnchors) }]);
  return {
    name: `Hawser on XS, ${bits} bits`,
    canKeep: true,
    async wake(port, version, { keepSessions, messagesWithConnect }, confirmed) {
      const maximumVersion = VERSIONS.find((one) => one.version === version)?.number ?? 0;
      return (await ask(
        [{ do: "wake", port, maximumVersion, keepSessions, messagesWithConnect }, { do: "leave" }],
        confirmed,
      )) as unknown as WakingResult;
    },
  };
}

async function showTlsHeap(): Promise<void> {
  const world = await createWorld({ bits: 32 });
  try {
    print(`\n${"heap of Mbed TLS, 32 bits, bytes".padEnd(37)}  handshake   after it`);
    for (const { version, number } of VERSIONS) {
      const settings = mtls(world, { maximum: number, fragment: FRAGMENT_BYTES, session: true });
      for (const result of await world.device.connect(settings, settings)) {
        const cells = [result.peakInHandshake, result.peakAfterHandshake].map((bytes) => bytes.toLocaleString("en-US").padStart(10));
        print(`${`${version.slice(3)}, ${result.resumed ? "resumed" : "full handshake"}`.padEnd(37)} ${cells.join(" ")}`);
      }
    }
  } finally {
    await world.stop();
  }
}
