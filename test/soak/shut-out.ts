/**
 * How long a thief's live session outlives a revocation, a replacement and a recovery on a real mosquitto, while many other devices are
 * connected: nobody else may lose a session or a message.
 */
import { join } from "node:path";
import { pemChain } from "../../host-tools/ca/context.js";
import type { CertificateAuthority } from "../../host-tools/ca/certificate-authority.js";
import { MOST_IN_BATCH } from "../../host-tools/ca/provisioning-batch.js";
import { provisionDevice, testKey, type Scene } from "../support/host-tools/scene.js";
import { Member, type Address, type Identity } from "./crowd.js";

export interface ShutOutPlan {
  /** Devices connected all the time. */
  readonly devices: number;
  /** Of each kind. */
  readonly rounds: number;
}

export interface Durations {
  readonly kind: "revoke" | "replace" | "recover";
  /** From the command's beginning to the end of the thief's last session. */
  readonly goneMs: readonly number[];
  /** From the command's beginning to its end. */
  readonly commandMs: readonly number[];
}

export interface ShutOutReport {
  readonly durations: readonly Durations[];
  /** Devices of the crowd that lost their connection. */
  readonly lostSessions: number;
  /** Commands and readings of the crowd that did not arrive. */
  readonly lostMessages: number;
  /** Sessions of thieves that were still there when the command said that they were not. */
  readonly survivors: number;
}

/** Starts the broker of a configuration; resolves when it accepts. */
export type StartBroker = (configFile: string, mtlsPort: number) => Promise<void>;

export async function shutOut(
  scene: Scene,
  plan: ShutOutPlan,
  ports: readonly [number, number],
  reach: string,
  start: StartBroker,
  say: (text: string) => void,
): Promise<ShutOutReport> {
  const ca = await scene.ca();
  say(`provisioning ${plan.devices} devices and ${plan.rounds * 3} victims`);
  const crowd = await provisioned(ca, "dev", plan.devices);
  const victims = await provisioned(ca, "victim", plan.rounds * 3);
  const operator: Identity = { name: "operator", ...(await ca.issueClient({ name: "operator", role: "operator" })) };
  const [mtlsPort, pskPort] = ports;
  const { configFile } = await ca.writeBrokerConfig({
    engine: "mosquitto",
    out: join(scene.directory(), "broker"),
    mtlsPort,
    pskPort,
    ...(reach === "localhost" ? {} : { reach }),
    user: "root",
  });
  await start(configFile, mtlsPort);
  return new Site(ca, { host: reach, port: mtlsPort }, operator, say).run(crowd, victims, plan.rounds);
}

/** In batches: what is measured comes later. */
async function provisioned(ca: CertificateAuthority, prefix: string, count: number): Promise<Identity[]> {
  const all: Identity[] = [];
  while (all.length < count) {
    const names = Array.from({ length: Math.min(MOST_IN_BATCH, count - all.length) }, (_, i) => `${prefix}-${all.length + i}`);
    const keys = await Promise.all(names.map(testKey));
    const devices = keys.map(({ csr }, i) => ({ id: names[i] ?? "", csr }));
    for (const [i, { id, chain, trustAnchors }] of (await ca.provisionBatch({ role: "sensor", devices })).entries())
      all.push({ name: id, keyPem: keys[i]?.keyPem ?? "", chainPem: pemChain(chain), trustAnchorPem: pemChain(trustAnchors) });
  }
  return all;
}

class Site {
  #survivors = 0;

  constructor(
    private readonly ca: CertificateAuthority,
    private readonly address: Address,
    private readonly operator: Identity,
    private readonly say: (text: string) => void,
  ) {}

  async run(identities: readonly Identity[], victims: readonly Identity[], rounds: number): Promise<ShutOutReport> {
    const operator = await Member.join(this.address, this.operator, "op", true);
    await operator.subscribe("devices/+/up/#");
    this.say("connecting the crowd");
    const crowd: Member[] = [];
    for (const identity of identities) {
      const member = await Member.join(this.address, identity, identity.name, false);
      await member.subscribe(`devices/${identity.name}/down/#`);
      crowd.push(member);
    }
    let sent = 0;
    const durations: Durations[] = [];
    const talk = async (): Promise<void> => {
      // One command to each of some devices, one reading of each of them: all must arrive.
      const some = Math.min(20, crowd.length);
      for (let i = 0; i < some; i++) {
        const at = (sent + i) % crowd.length;
        await operator.publish(`devices/dev-${at}/down/n`, String(sent + i));
        await crowd[at]?.publish(`devices/dev-${at}/up/n`, String(sent + i));
      }
      sent += some;
    };
    for (const [index, kind] of (["revoke", "replace", "recover"] as const).entries()) {
      const goneMs: number[] = [];
      const commandMs: number[] = [];
      for (const victim of victims.slice(index * rounds, (index + 1) * rounds)) {
        await talk();
        const { gone, command } = await this.#shutOut(kind, victim);
        goneMs.push(gone);
        commandMs.push(command);
      }
      durations.push({ kind, goneMs, commandMs });
      for (const line of durationLines({ kind, goneMs, commandMs })) this.say(line);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    const arrived = operator.received.length + crowd.reduce((sum, { received }) => sum + received.length, 0);
    const lostSessions = [operator, ...crowd].filter(({ endedAtMs }) => endedAtMs !== undefined).length;
    for (const member of [operator, ...crowd]) member.leave();
    return { durations, lostSessions, lostMessages: 2 * sent - arrived, survivors: this.#survivors };
  }

  async #shutOut(kind: Durations["kind"], victim: Identity): Promise<{ gone: number; command: number }> {
    // The thief's session comes last, under a client id of another: where ids are bound to names it took the device's place, and where not,
    // it is one more.
    const honest = await Member.join(this.address, victim, victim.name, true);
    const thief = await Member.join(this.address, victim, "dev-0", true);
    await thief.subscribe(`devices/${victim.name}/down/#`);
    const startedMs = performance.now();
    if (kind === "revoke") await this.ca.revoke({ id: victim.name, reason: "keyCompromise" });
    else if (kind === "replace") await provisionDevice(this.ca, victim.name, true);
    else await this.#recover(victim.name);
    const command = performance.now() - startedMs;
    // The broker closed the sockets before the command ended; this process may hear of it a moment later.
    await Promise.race([Promise.all([thief.ended, honest.ended]), new Promise((resolve) => setTimeout(resolve, 1_000))]);
    if (thief.endedAtMs === undefined || honest.endedAtMs === undefined) this.#survivors += 1;
    return { gone: Math.max(thief.endedAtMs ?? Infinity, honest.endedAtMs ?? Infinity) - startedMs, command };
  }

  async #recover(name: string): Promise<void> {
    await this.ca.revoke({ id: name, certificateOnly: true });
    const { keyPem, csr } = await testKey(name);
    const { chain } = await this.ca.issueFromCsr(name, csr);
    const identity = { name, keyPem, chainPem: pemChain(chain), trustAnchorPem: this.operator.trustAnchorPem };
    (await Member.join(this.address, identity, name, true)).leave();
  }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

function durationLines({ kind, goneMs, commandMs }: Durations): string[] {
  const row = (label: string, values: readonly number[]): string =>
    `${label.padEnd(30)} n ${values.length}  p50 ${percentile(values, 0.5).toFixed(0)} ms  p99 ${percentile(values, 0.99).toFixed(0)} ms  max ${Math.max(...values).toFixed(0)} ms`;
  return [row(`${kind}: sessions gone after`, goneMs), row(`${kind}: command took`, commandMs)];
}

export function reportLines({ durations, lostSessions, lostMessages, survivors }: ShutOutReport): string[] {
  return [
    ...durations.flatMap(durationLines),
    `surviving sessions: ${survivors}; others: ${lostSessions} sessions and ${lostMessages} messages lost`,
  ];
}
