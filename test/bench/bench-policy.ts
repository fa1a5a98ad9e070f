/**
 * `npm run bench:policy`: what a policy costs for a large fleet: to check it, to compile it for mosquitto, and until a mosquitto that runs
 * knows of one device's change. The CA is a real one with real pre-shared keys; its devices are copies of one entry under other names.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { compileMosquittoPolicy } from "../../host-tools/brokers/mosquitto/mosquitto-policy.js";
import { openCa } from "../../host-tools/ca/certificate-authority.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { initCa } from "../../host-tools/ca/ca-creation.js";
import { DEFAULT_POLICY_TEXT, defaultPolicy } from "../../host-tools/policy/default-policy.js";
import { PolicyEngine } from "../../host-tools/policy/policy-engine.js";
import { checkPolicy } from "../../host-tools/policy/policy-check.js";
import { directoryOf } from "../../host-tools/policy/policy-model.js";
import type { Principal } from "../../host-tools/policy/policy-model.js";
import { CompileInput } from "../../host-tools/policy/policy-target.js";
import { errorCode } from "../../sdk/errors.js";
import { freePorts } from "../../sim/brokers/free-port.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { CommandLine, errorText, rangeText } from "../../sim/virtual/cli/arguments.js";
import { fillCa, meterName } from "./filled-ca.js";

const RANGES = { devices: { lowest: 2, highest: 1_000_000 }, live: { lowest: 2, highest: 1_000_000 } } as const;
const USUAL = { devices: 100_000, live: 1000 } as const;
const PASSPHRASE = "of a CA that lives for a minute";

const HELP = `npm run bench:policy -- [options]
  --devices N        to check and to compile for, ${rangeText(RANGES.devices)} (default: ${USUAL.devices})
  --live N           of the CA whose mosquitto runs, ${rangeText(RANGES.live)} (default: ${USUAL.live})
  --json             one JSON object

Exit codes: 0 measured; 1 failed; 2 a bad command line
`;

interface Measured {
  readonly what: string;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly targetMs: number;
}

async function measure(what: string, targetMs: number, work: () => unknown): Promise<Measured> {
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { what, cpuMs: Math.round((user + system) / 1000), wallMs: Math.round(performance.now() - startMs), targetMs };
}

async function figuresOf(devices: number): Promise<Measured[]> {
  const names = Array.from({ length: devices }, (_, index): Principal => ({
    name: meterName(index),
    kind: "device",
    role: "sensor",
    attributes: {},
    // Some cannot have the pattern, as in any fleet.
    active: index % 100 !== 0,
    recoverable: true,
  }));
  const policy = defaultPolicy();
  const tls = { anchors: "/a", chain: "/c", key: "/k", crl: "/r", psk: "/p" };
  return [
    await measure(`check against ${devices} devices`, 5000, () => checkPolicy(policy, directoryOf(names))),
    await measure(`compile for mosquitto, ${devices} devices`, 10_000, () =>
      compileMosquittoPolicy(new CompileInput(new PolicyEngine(policy, directoryOf(names)), "/x", tls)),
    ),
  ];
}

async function provisionFirst(ca: CertificateAuthority): Promise<void> {
  const keys = memoryKeyStore();
  keys.generate("key-a");
  const reservation = await ca.reserve({ id: meterName(0) });
  (await ca.complete(reservation, keys.csr("key-a", meterName(0)))).psk.fill(0);
  await ca.activate(reservation);
}

/** Each change resolves when the running mosquitto has proved that it has the new files. */
async function live(devices: number, room: string): Promise<Measured[]> {
  const directory = join(room, "ca");
  await initCa(directory, { name: "Bench", passphrase: PASSPHRASE, scryptCost: TEST_SCRYPT_COST });
  await provisionFirst(await openCa(directory, PASSPHRASE));
  await fillCa(directory, PASSPHRASE, devices);
  const ca = await openCa(directory, PASSPHRASE);
  await ca.applyPolicy(DEFAULT_POLICY_TEXT.replace("name: default", "name: own\nattributes: { site: {} }"));
  const [mtlsPort = 0, pskPort = 0] = await freePorts(2);
  const { configFile } = await ca.writeBrokerConfig({
    engine: "mosquitto",
    out: join(room, "broker"),
    mtlsPort,
    pskPort,
    bind: "127.0.0.1",
    user: userInfo().username,
  });
  const broker = spawn("/usr/sbin/mosquitto", ["-c", configFile], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(broker, "close");
  try {
    let log = "";
    for await (const chunk of broker.stderr.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      if (/mosquitto version \S+ running/.test((log += chunk.toString()))) break;
    broker.stderr.resume();
    const change = (value: string) => () => ca.setName({ id: meterName(1), attributes: { site: value } });
    await change("first")();
    const measured = [await measure(`one device's attribute, until mosquitto has it, ${devices} devices`, 1000, change("b1"))];
    measured.push(await measure(`one device revoked and cut off, ${devices} devices`, 1000, () => ca.revoke({ id: meterName(1) })));
    return measured;
  } finally {
    broker.kill("SIGKILL");
    await ended;
  }
}

function textOf(measured: readonly Measured[], load: number): string {
  const seconds = (ms: number): string => (ms / 1000).toFixed(2).padStart(8);
  const lines = measured.map(
    ({ what, cpuMs, wallMs, targetMs }) =>
      `${what.padEnd(60)} ${seconds(cpuMs)} ${seconds(wallMs)}  ${wallMs < targetMs ? "met   " : "missed"} ${targetMs / 1000} s`,
  );
  return [`${`load ${load.toFixed(1)}`.padEnd(60)} ${"CPU s".padStart(8)} ${"wall s".padStart(8)}`, ...lines, ""].join("\n");
}

async function run(args: readonly string[]): Promise<void> {
  const commandLine = new CommandLine("npm run bench:policy");
  const { values } = commandLine.parse({
    args: [...args],
    options: {
      devices: { type: "string" },
      live: { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return void process.stdout.write(HELP);
  const read = (name: keyof typeof USUAL): number =>
    values[name] === undefined ? USUAL[name] : commandLine.wholeNumber(`--${name}`, values[name], RANGES[name]);
  const settings = { devices: read("devices"), live: read("live") };
  const room = mkdtempSync(join(tmpdir(), "hawser-policy-bench-"));
  process.env["HAWSER_STATE_DIR"] = join(room, "state");
  try {
    const measured = [...(await figuresOf(settings.devices)), ...(await live(settings.live, room))];
    const [load = 0] = loadavg();
    process.stdout.write(values.json === true ? `${JSON.stringify({ settings, measured, load })}\n` : textOf(measured, load));
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(errorText(error));
  process.exitCode = errorCode(error) === "BAD_ARGUMENT" ? 2 : 1;
}
