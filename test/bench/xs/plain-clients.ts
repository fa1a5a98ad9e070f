/** Hawser's MQTT client and Moddable's ECMA-419 client on the XS host, 32 bits, code in ROM, plain TCP, the same task: what each costs. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import { freePort, startMosquitto } from "../../support/node/test-mosquitto.js";
import { bundleDevice } from "../../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../../firmware/build/project-files.js";
import { startXs } from "../../../sim/xs/xs-run.js";
import type { PlainTask, Stage, StageFigures } from "./plain-task.js";

export interface PlainFigures {
  client: string;
  bundleBytes: number;
  /** Connected with one subscription, beyond the machine before. */
  liveHeapBytes: number;
  /** A QoS 1 message of 128 bytes and its acknowledgement, byte codes of the engine. */
  meterPerMessage: number;
}

const TASK = { count: 20, payloadBytes: 128 } as const;
const HERE = join(packageRoot(), "test", "bench", "xs");
/** Where the Moddable SDK keeps its ECMA-419 MQTT client. */
const ECMA419_SOURCE = "examples/io/tcp/mqttclient/mqttclient.js";

/** @returns undefined where `$MODDABLE` does not lead to a Moddable SDK with that client */
export function ecma419Source(): string | undefined {
  const file = join(process.env["MODDABLE"] ?? "", ECMA419_SOURCE);
  return process.env["MODDABLE"] && existsSync(file) ? file : undefined;
}

export async function measureHawser(folder: string): Promise<PlainFigures> {
  const libraryEntry = join(packageRoot(), "test", "support", "xs", "mqtt-library.ts");
  const library = await bundleDevice({ entry: libraryEntry, outputFile: join(folder, "hawser-library.mjs") });
  const program = await bundleDevice({
    entry: join(HERE, "plain-hawser.ts"),
    outputFile: join(folder, "hawser.mjs"),
    separate: { [libraryEntry]: "library" },
  });
  return { client: "Hawser's MqttClient", bundleBytes: library.sizeBytes, ...(await run(folder, "hawser", program.file, library.file)) };
}

/** @param source Moddable's `mqttclient.js` */
export async function measureEcma419(folder: string, source: string): Promise<PlainFigures> {
  const libraryEntry = join(HERE, "ecma419-library.ts");
  const library = join(folder, "ecma419-library.mjs");
  const names: Readonly<Record<string, string>> = {
    mqttclient: source,
    timer: join(HERE, "ecma419-timer.ts"),
    time: join(HERE, "ecma419-time.ts"),
  };
  const bundleBytes = await bundleWith(names, libraryEntry, library);
  const program = await bundleDevice({
    entry: join(HERE, "plain-ecma419.ts"),
    outputFile: join(folder, "ecma419.mjs"),
    separate: { [libraryEntry]: "library" },
  });
  return { client: "Moddable's ECMA-419 client", bundleBytes, ...(await run(folder, "ecma419", program.file, library)) };
}

async function bundleWith(names: Readonly<Record<string, string>>, entry: string, outfile: string): Promise<number> {
  const byName: Plugin = {
    name: "by-name",
    setup(builder) {
      builder.onResolve({ filter: /^(mqttclient|timer|time)$/ }, ({ path }) => ({ path: names[path] ?? path }));
    },
  };
  const { metafile } = await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    minify: true,
    define: { "ArrayBuffer.fromString": "bufferFromString", "String.fromArrayBuffer": "stringFromBuffer" },
    inject: [join(HERE, "ecma419-strings.ts")],
    plugins: [byName],
    metafile: true,
    logLevel: "silent",
  });
  return Object.values(metafile.outputs)[0]?.bytes ?? 0;
}

async function run(
  folder: string,
  name: string,
  program: string,
  library: string,
): Promise<Pick<PlainFigures, "liveHeapBytes" | "meterPerMessage">> {
  const port = await freePort();
  const broker = await startMosquitto(folder, `broker-${name}`, {}, [`listener ${port} 127.0.0.1`, "allow_anonymous true"]);
  try {
    const task: PlainTask = { port, ...TASK };
    const xs = await startXs({
      program,
      bits: 32,
      inRom: "code",
      modules: { library },
      preload: ["library"],
      args: [JSON.stringify(task)],
    });
    const { code, errors } = await xs.exited;
    if (code !== 0) throw new Error(`the ${name} program ended with ${code}: ${errors}`);
    const [empty, subscribed, published] = (["empty", "subscribed", "published"] satisfies Stage[]).map((at) => {
      const figures = xs.messages.find((message) => message["at"] === at);
      if (figures === undefined) throw new Error(`the ${name} program said nothing of "${at}"`);
      return figures as unknown as StageFigures;
    }) as [StageFigures, StageFigures, StageFigures];
    return {
      liveHeapBytes: usedBytes(subscribed) - usedBytes(empty),
      meterPerMessage: Math.round((published.meter - subscribed.meter) / TASK.count),
    };
  } finally {
    await broker.stop();
  }
}

function usedBytes({ slotsUsed, slotBytes, chunkBytesUsed }: StageFigures): number {
  return slotsUsed * slotBytes + chunkBytesUsed;
}
