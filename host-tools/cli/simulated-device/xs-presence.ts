/** Whether a device can run on XS here. The published package has neither the sources of the host nor the bundler. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import type { Terminal } from "../terminal.js";

/** @throws HawserError `XS_NOT_HERE` naming what is missing of the package in `root` */
export function checkXsHere(root: string): void {
  const missing = [
    ...(["sim/xs/device-program.ts", "sim/xs/host", "firmware/native"].some((path) => !existsSync(join(root, path)))
      ? ["the sources of its host (sim/xs)"]
      : []),
    ...(existsSync(join(root, "node_modules", "esbuild")) ? [] : ["esbuild"]),
  ];
  if (missing.length === 0) return;
  throw new HawserError(
    "XS_NOT_HERE",
    `the XS engine is built from source, and ${missing.join(" and ")} ${missing.length === 1 && missing[0] === "esbuild" ? "is" : "are"} not in ${root}`,
    "Run it from a checkout of hawser after `npm ci`, or omit --engine xs.",
  );
}

/** Says what takes long, which only the first time does. */
export async function buildingXs<Result>(terminal: Terminal, work: () => Promise<Result>): Promise<Result> {
  terminal.startProgress("building the XS engine", "starting the XS engine: at first use it is built, which takes about half a minute");
  try {
    return await work();
  } finally {
    terminal.stopProgress();
  }
}
