/** Where the processor's time goes while something runs: by function of ours, by module of Node, and what is native. */
import { Session, type Profiler } from "node:inspector/promises";

const SAMPLE_EVERY_US = 100;
/** Waiting, and the profiler itself. */
const NOT_COUNTED = new Set(["(idle)", "native dispatch"]);

/** Shares of the time that was not idle, 0..1, by name. */
export async function cpuByFunction(work: () => Promise<void>): Promise<Map<string, number>> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: SAMPLE_EVERY_US });
    await session.post("Profiler.start");
    await work();
    const { profile } = await session.post("Profiler.stop");
    return sharesOf(profile);
  } finally {
    session.disconnect();
  }
}

function sharesOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Map<string, number> {
  const names = new Map(nodes.map(({ id, callFrame: { functionName, url } }) => [id, nameOf(functionName, url)]));
  const spent = new Map<string, number>();
  samples.forEach((id, index) => {
    const name = names.get(id) ?? "";
    if (!NOT_COUNTED.has(name)) spent.set(name, (spent.get(name) ?? 0) + (timeDeltas[index] ?? 0));
  });
  const total = [...spent.values()].reduce((sum, value) => sum + value, 0);
  return new Map([...spent].map(([name, value]) => [name, value / total]));
}

function nameOf(functionName: string, url: string): string {
  if (url.startsWith("node:")) return url;
  if (url !== "") return functionName === "" ? "(anonymous)" : functionName;
  return functionName.startsWith("(") ? functionName : `native ${functionName}`;
}
