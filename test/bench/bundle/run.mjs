// `npm run bench:bundle`
import { pathToFileURL } from "node:url";
import { bundled } from "../bundled.mjs";

await import(pathToFileURL(await bundled("test/bench/bundle/main.ts")).href);
