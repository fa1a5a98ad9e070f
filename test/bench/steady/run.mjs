// `npm run bench:steady`
import { pathToFileURL } from "node:url";
import { bundled } from "../bundled.mjs";

const { bench } = await import(pathToFileURL(await bundled("test/bench/steady/main.ts")).href);
await bench(Number(process.argv[2] ?? 1_000_000));
