/**
 * `npm run attacks [-- --seconds N]`: six attacks on a real mosquitto with Hawser's configuration, one after the other, while honest
 * devices work. Prints how long it took until `hawser monitor` named each as what it is, which of the shipped alert rules fire in a real
 * Prometheus, and what became of the devices' latency. As root in a network namespace of its own, with the limits that Hawser writes for
 * nftables; otherwise without them. Ends with 1 when something was not seen, or somebody honest was accused.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { freePorts, provisionDevice, Scene } from "../../support/host-tools/scene.js";
import { percentile } from "../../soak/shut-out.js";
import { Latencies } from "./latencies.js";
import { MonitorEvents } from "./monitor-events.js";
import type { Line } from "./monitor-events.js";
import { ATTACKER_NETWORK, ATTACKS, HONEST_NETWORK } from "./plans.js";
import type { Attack, AttackPlan, DevicesPlan, Shown } from "./plans.js";
import { startPrometheus } from "./prometheus-eyes.js";
import type { StartProcess } from "./prometheus-eyes.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "8" },
    only: { type: "string", default: ATTACKS.join(",") },
    inside: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const ATTACK_MS = Number(values.seconds) * 1000;
const QUIET_MS = ATTACK_MS / 2;
const SEEN_WITHIN_MS = 5000;
const GIVE_UP_MS = 20_000;
const DEVICES = 8;
const HERE = import.meta.dirname;
const CLI = join(HERE, "../../../host-tools/cli/main.js");

/** What an attack has to be called, and which alert of Prometheus is about it alone. */
interface Expectation {
  readonly event: (line: Line) => boolean;
  readonly alert?: (line: Line) => boolean;
  readonly prometheus: string;
}

const alertOf =
  (rule: string, by: string, offender: string) =>
  (line: Line): boolean =>
    line["event"] === "alert" && line["rule"] === rule && line["by"] === by && line["offender"] === offender;

const fromOf = (attack: Attack): string => `${ATTACKER_NETWORK}${ATTACKS.indexOf(attack) + 1}`;

const EXPECTED: Readonly<Record<Attack, Expectation>> = {
  "brute-force": { event: (line) => line["event"] === "refused" && line["reason"] === "psk", prometheus: "HawserFailedLogins" },
  "foreign-topics": {
    event: (line) => line["event"] === "denied" && line["client"] === "thief-1" && line["topic"] === "devices/honest-1/up/t",
    alert: alertOf("denied-publishes", "client", "thief-1"),
    prometheus: "HawserDeniedPublishes",
  },
  flood: { event: alertOf("message-rate", "client", "thief-2"), prometheus: "HawserOffender message-rate" },
  takeover: {
    event: (line) => line["event"] === "taken-over" && line["client"] === "victim",
    alert: alertOf("clone-suspected", "client", "victim"),
    prometheus: "HawserTakeovers",
  },
  "slow-connect": { event: alertOf("slow-connect", "address", fromOf("slow-connect")), prometheus: "HawserOffender slow-connect" },
  "other-ca": { event: (line) => line["event"] === "refused" && line["reason"] === "certificate", prometheus: "HawserFailedLogins" },
};

/** Everybody who is honest, by any name that an event could give. The victim's own name is what was copied. */
function isHonest(who: unknown): boolean {
  return typeof who === "string" && (who.startsWith("honest-") || who.startsWith(HONEST_NETWORK));
}

function accuses(line: Line): boolean {
  const { event, offender, address, claimedClient, client } = line;
  if (event === "alert") return isHonest(offender);
  if (event === "refused") return isHonest(address) || isHonest(claimedClient);
  return event === "denied" || event === "taken-over" ? isHonest(client) : false;
}

if (!values.inside && process.getuid?.() === 0) {
  const script = 'ip link set lo up && exec "$0" "$@"';
  const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2), "--inside"];
  const child = spawn("unshare", ["--net", "sh", "-ec", script, process.execPath, ...args], { stdio: "inherit" });
  process.exitCode = await new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
} else await run(values.inside);

async function run(hasLimits: boolean): Promise<void> {
  const scene = new Scene();
  const children: ChildProcess[] = [];
  const start: StartProcess = (command, args, cwd) => {
    // A group of its own, so that a shell's children end with it.
    const child = spawn(command, args, { cwd, stdio: ["pipe", "pipe", "inherit"], detached: true });
    children.push(child);
    return child;
  };
  try {
    const ca = await scene.ca({}, { onOutput: () => undefined });
    const policy = (await ca.policyText())
      .replace("    class: device\n", "    class: device\n    limits: { messagesPerSecond: 20 }\n")
      .concat("unenforced: { mosquitto: [roleLimits] }\n");
    await ca.applyPolicy(policy);
    const shown = (id: string): Promise<Shown> => provisionDevice(ca, id);
    const devices: Shown[] = [];
    for (let n = 1; n <= DEVICES; n += 1) devices.push(await shown(`honest-${n}`));
    const victim = await shown("victim");
    const thieves = [await shown("thief-1"), await shown("thief-2")];
    const stranger = await provisionDevice(await scene.ca({}, { onOutput: () => undefined }), "honest-1");

    const [mtlsPort, pskPort] = await freePorts();
    const cwd = scene.directory();
    const settings = { mtlsPort, pskPort, bind: "127.0.0.1", user: "root", logPublishes: true };
    const { configFile } = await ca.writeBrokerConfig({ engine: "mosquitto", out: join(cwd, "broker"), ...settings });
    if (hasLimits) await ended(start("nft", ["-f", join(cwd, "broker/limits.nft")], cwd));

    const quoted = [process.execPath, CLI].map((word) => `'${word}'`).join(" ");
    const follow = `monitor --log - --config ${configFile} --events events.jsonl --state normal.json --dir ${ca.directory} --metrics 0 --json`;
    const pipeline = start("sh", ["-c", `/usr/sbin/mosquitto -c ${configFile} 2>&1 | ${quoted} ${follow}`], cwd);
    const events = new MonitorEvents(pipeline, GIVE_UP_MS);
    const metricsUrl = String((await events.next((line) => line["event"] === "metrics")).line["url"]);
    await events.next((line) => line["event"] === "broker-started");
    const eyes = startPrometheus(start, { cwd, metricsUrl, port: await freePort(), giveUpMs: GIVE_UP_MS });

    const fleet = start(process.execPath, [join(HERE, "honest-devices.js")], cwd);
    fleet.stdin?.end(JSON.stringify({ mtlsPort, devices, victim } satisfies DevicesPlan));
    const latencies = new Latencies(fleet);
    await eyes.answers("hawser_monitor_alerts_total");
    await latencies.flowing();

    const reports: Report[] = [];
    latencies.phase = "quiet";
    await delay(2 * QUIET_MS);
    for (const attack of ATTACKS.filter((one) => values.only.split(",").includes(one))) {
      const mine = { "foreign-topics": thieves[0], flood: thieves[1], takeover: victim, "other-ca": stranger } as const;
      const plan: AttackPlan = {
        attack,
        mtlsPort,
        pskPort,
        from: fromOf(attack),
        target: "honest-1",
        shown: (attack in mine ? mine[attack as keyof typeof mine] : undefined) ?? stranger,
      };
      const attacker = start(process.execPath, [join(HERE, "attacker.js")], cwd);
      latencies.phase = "start";
      attacker.stdin?.end(JSON.stringify(plan));
      await firstOutput(attacker);
      const begunMs = performance.now();
      latencies.phase = attack;
      const { event, alert = event, prometheus } = EXPECTED[attack];
      const [seen, named] = await Promise.all([events.next(event, begunMs), events.next(alert, begunMs)]);
      const firing = await eyes.firing(prometheus, begunMs);
      await delay(Math.max(0, begunMs + ATTACK_MS - performance.now()));
      process.kill(-(attacker.pid ?? 0), "SIGKILL");
      latencies.phase = "quiet";
      reports.push({ attack, seenMs: seen.atMs - begunMs, namedMs: named.atMs - begunMs, firingMs: firing - begunMs });
      await delay(QUIET_MS);
    }
    const accused = events.all.filter(({ line }) => accuses(line)).map(({ line }) => line);
    tell(reports, latencies, accused, hasLimits);
  } finally {
    for (const { pid = 0 } of children) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
    await scene.clean();
  }
}

interface Report {
  readonly attack: Attack;
  readonly seenMs: number;
  readonly namedMs: number;
  readonly firingMs: number;
}

function tell(reports: readonly Report[], latencies: Latencies, accused: readonly Line[], hasLimits: boolean): void {
  const quietMs = percentile(latencies.of("quiet"), 0.99);
  const rows = reports.map((report) => {
    const duringMs = percentile(latencies.of(report.attack), 0.99);
    return { ...report, p99Ms: duringMs, ratio: duringMs / quietMs, samples: latencies.of(report.attack).length };
  });
  const result = { hasLimits, quietP99Ms: quietMs, quietSamples: latencies.of("quiet").length, rows, accused };
  const ms = (value: number): string => value.toFixed(value < 100 ? 1 : 0).padStart(9);
  const lines = [
    `six attacks on mosquitto with Hawser's configuration${hasLimits ? " and its limits.nft" : ", without nftables (not root)"}; times in ms`,
    `${"attack".padEnd(16)}     seen     named Prometheus      p99  (quiet: ${quietMs.toFixed(1)})`,
    ...rows.map(
      ({ attack, seenMs, namedMs, firingMs, p99Ms, ratio }) =>
        `${attack.padEnd(16)}${ms(seenMs)} ${ms(namedMs)} ${ms(firingMs)} ${ms(p99Ms)}  ${ratio.toFixed(2)} times quiet`,
    ),
    `honest devices or addresses accused: ${accused.length}${accused.length === 0 ? "" : ` ${JSON.stringify(accused.slice(0, 3))}`}`,
  ];
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${lines.join("\n")}\n`);
  if (accused.length > 0 || rows.some(({ seenMs }) => seenMs > SEEN_WITHIN_MS)) process.exitCode = 1;
}

/** An attacker says when it begins: its own start costs the machine more than its attack. */
function firstOutput({ stdout }: ChildProcess): Promise<void> {
  return new Promise((resolve) => stdout?.once("data", () => resolve()));
}

async function freePort(): Promise<number> {
  return (await freePorts())[0];
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) =>
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${child.spawnfile} ended with ${code}`)))),
  );
}
