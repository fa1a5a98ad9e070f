// `npm run bench:profile`
import { spawnSync } from "node:child_process";
import { bundled } from "../bundled.mjs";

// In a process of its own: the bench's parts are the program that was started, again.
const { status } = spawnSync(process.execPath, [await bundled("test/bench/profile/main.ts")], { stdio: "inherit" });
process.exitCode = status ?? 1;
