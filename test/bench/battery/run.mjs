// `npm run bench:battery`
import { pathToFileURL } from "node:url";
import { bundled } from "../bundled.mjs";

const waking = await bundled("test/bench/battery/waking-node.ts");
const { bench } = await import(pathToFileURL(await bundled("test/bench/battery/main.ts")).href);
await bench(waking);
