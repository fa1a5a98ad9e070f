// `npm run bench:xs`
import { pathToFileURL } from "node:url";
import { bundled } from "../bundled.mjs";

await import(pathToFileURL(await bundled("test/bench/xs/main.ts")).href);
