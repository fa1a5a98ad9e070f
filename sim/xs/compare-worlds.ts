/** Plays worlds on Node and on XS and compares what they tell, byte for byte. */
import { FAULT_KINDS } from "../virtual/faults/fault-plan.js";
import { runWorld } from "../virtual/node-host.js";
import type { WorldResult } from "../virtual/world/world.js";
import type { Bits } from "./host-build.js";
import type { WorldRequest } from "./world-protocol.js";
import { XsWorlds, type PlayedWorld } from "./xs-worlds.js";

/** Where two logs part. Undefined lines: one log has ended. */
export interface Difference {
  /** Counts from 1. One past the last line: the logs are equal, the figures at the end are not. */
  line: number;
  before: string | undefined;
  node: string | undefined;
  xs: string | undefined;
}

export interface ComparedWorld {
  /** As Node saw it. */
  result: WorldResult;
  lines: number;
  difference?: Difference;
  nodeMs: number;
  xsMs: number;
}

export interface CompareOptions {
  /** Default 64. */
  bits?: Bits;
  /** XS engines at a time. */
  processes: number;
  /** Told of each world as it is compared, in no order. */
  onWorld?: (world: ComparedWorld) => void;
}

/**
 * Compares every world asked for; the answers come in the order of the requests.
 * @throws HawserError `XS_ENDED`, and as `XsWorlds.start`
 */
export async function compareWorlds(requests: readonly WorldRequest[], options: CompareOptions): Promise<ComparedWorld[]> {
  const compared: ComparedWorld[] = [];
  const onNode = inTurn(playOnNode);
  let next = 0;
  const engines: XsWorlds[] = [];
  try {
    for (let count = Math.min(options.processes, requests.length); count > 0; count--) engines.push(await XsWorlds.start(options.bits));
    const work = async (engine: XsWorlds): Promise<void> => {
      for (let index = next++; index < requests.length; index = next++) {
        const request = requests[index] as WorldRequest;
        const [node, xs] = await Promise.all([onNode(request), timed(() => engine.play(request))]);
        const difference = firstDifference(node.played, xs.played);
        const world = {
          result: node.played.result,
          lines: node.played.lines.length,
          ...(difference && { difference }),
          nodeMs: node.tookMs,
          xsMs: xs.tookMs,
        };
        compared[index] = world;
        options.onWorld?.(world);
      }
    };
    await Promise.all(engines.map(work));
    return compared;
  } finally {
    for (const engine of engines) await engine.close();
  }
}

/** What two engines told of one world: undefined when it is the same. */
export function firstDifference(node: PlayedWorld, xs: PlayedWorld): Difference | undefined {
  const end = Math.max(node.lines.length, xs.lines.length);
  let line = 0;
  while (line < end && node.lines[line] === xs.lines[line]) line++;
  if (line < end) return { line: line + 1, before: node.lines[line - 1], node: node.lines[line], xs: xs.lines[line] };
  const [one, other] = [figures(node.result), figures(xs.result)];
  return one === other ? undefined : { line: end + 1, before: node.lines[end - 1], node: one, xs: other };
}

/** Where in its code an engine stumbled is its own affair. */
function figures(result: WorldResult): string {
  return JSON.stringify(result, (key, value: unknown) => (key === "where" ? undefined : value));
}

async function playOnNode({ faults, ...request }: WorldRequest): Promise<{ played: PlayedWorld; tookMs: number }> {
  const lines: string[] = [];
  const kinds = FAULT_KINDS.filter(({ name }) => faults.includes(name));
  return timed(async () => ({ lines, result: await runWorld({ ...request, faults: kinds, onLine: (line) => lines.push(line) }) }));
}

async function timed(play: () => Promise<PlayedWorld>): Promise<{ played: PlayedWorld; tookMs: number }> {
  const startedAtMs = performance.now();
  const played = await play();
  return { played, tookMs: performance.now() - startedAtMs };
}

/** One call at a time: an unhandled rejection on Node does not say which world it belongs to. */
function inTurn<Input, Output>(work: (input: Input) => Promise<Output>): (input: Input) => Promise<Output> {
  let last: Promise<unknown> = Promise.resolve();
  return (input) => {
    const turn = last.then(() => work(input));
    last = turn.catch(() => undefined);
    return turn;
  };
}
