#!/usr/bin/env node
import { runCommandLine } from "./command-line.js";

await runCommandLine(process.argv.slice(2));
// What a failed command may have left open must not keep the process alive.
process.exit();
