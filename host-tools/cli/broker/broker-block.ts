/** `broker block`, `broker unblock` and `broker blocks`: source networks that reach no broker. */
import { spawnSync } from "node:child_process";
import { HawserError } from "../../../sdk/errors.js";
import { writeFileAtomic } from "../../../sim/node/files/atomic-file.js";
import { blocksText, parseNetwork } from "../../brokers/firewall/firewall-blocked-networks.js";
import type { Block } from "../../brokers/firewall/firewall-blocked-networks.js";
import { blocksIn } from "../../ca/network-blocking.js";
import { openCaParts } from "../../ca/ca-without-passphrase.js";
import { isoTime } from "../dates.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import type { Json, Terminal } from "../terminal.js";

interface Target {
  dir: string;
  /** More ports than those of the CA's own brokers. */
  port?: string[];
  /** Write the rules there, for another machine, in place of loading them here. */
  out?: string;
  json?: boolean;
}

export interface BlockOptions extends PassphraseOptions, Target {
  network: string;
  for?: number;
  reason: string;
}

export type UnblockOptions = PassphraseOptions & Target & { network: string };
export type BlocksOptions = Target & { apply?: boolean };

export async function block(options: BlockOptions, context: Context): Promise<void> {
  const network = parseNetwork(options.network);
  const ports = portsOf(options);
  const ca = await openCaOf(options, context);
  carryOut(await ca.changeBlocks({ network, reason: options.reason, forMs: options.for }), ports, options, context.terminal);
}

export async function unblock(options: UnblockOptions, context: Context): Promise<void> {
  const network = parseNetwork(options.network);
  const ports = portsOf(options);
  const ca = await openCaOf(options, context);
  carryOut(await ca.changeBlocks({ unblock: network }), ports, options, context.terminal);
}

export async function listBlocks(options: BlocksOptions, { terminal }: Context): Promise<void> {
  const isToApply = options.apply === true || options.out !== undefined;
  const ports = isToApply ? portsOf(options) : undefined;
  carryOut(blocksIn(options.dir, Date.now()), ports, options, terminal);
}

/** @throws HawserError `USAGE` when there are none; as `openCaParts` */
function portsOf({ dir, port = [] }: Target): readonly number[] {
  const own = openCaParts(dir).outputs.flatMap(({ settings: { mtlsPort, pskPort, backendPort } }) =>
    [mtlsPort, pskPort, backendPort].filter((one) => one !== undefined),
  );
  const all = [...own, ...port.map(Number)];
  if (all.length === 0)
    throw new HawserError("USAGE", "this CA has configured no broker, so the ports to close are not known", "Name them with --port.");
  return all;
}

/** @param ports undefined to change nothing */
function carryOut(blocks: readonly Block[], ports: readonly number[] | undefined, { out }: Target, terminal: Terminal): void {
  const isToApply = ports !== undefined && out === undefined;
  const text = ports === undefined ? "" : blocksText(blocks, ports, Date.now());
  if (out !== undefined) writeFileAtomic(out, text);
  else if (isToApply) load(text);
  const where = out === undefined ? (isToApply ? "active on this machine" : "by the audit trail") : `written to ${out}`;
  terminal.result({ blocks: blocks.map(asJson), appliedHere: isToApply, ...(out === undefined ? {} : { file: out }) }, [
    `${blocks.length} blocked ${blocks.length === 1 ? "network" : "networks"}, ${where}.`,
    ...blocks.map(
      ({ network, untilMs, reason }) => `  ${network.text}  ${untilMs === undefined ? "for good" : `until ${isoTime(untilMs)}`}  ${reason}`,
    ),
    ...(out === undefined ? [] : [`On each broker's machine, run: nft -f ${out}`]),
  ]);
}

function asJson({ network, untilMs, reason }: Block): Json {
  return { network: network.text, reason, ...(untilMs === undefined ? {} : { until: isoTime(untilMs) }) };
}

/** @throws HawserError `BLOCKS_NOT_APPLIED` */
function load(text: string): void {
  const env = { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, LANG: "C.UTF-8" };
  const { status, stderr, error } = spawnSync("nft", ["-f", "-"], { input: text, env, encoding: "utf8", timeout: 30_000 });
  if (status === 0) return;
  const why = error?.message ?? stderr.split("\n")[0] ?? "";
  throw new HawserError(
    "BLOCKS_NOT_APPLIED",
    `nftables did not take the rules: ${why}`,
    "The audit trail has the change. As root, run: hawser broker blocks --apply; or write a file with --out.",
  );
}
