/** Steps of a build on this machine: a program run to its end, a folder of the cache filled once. */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";

/** Runs a program to its end. @returns {Promise<string>} what it printed; rejects with its last error line */
export function run(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("error", () => reject(new Error(`${command} is not installed`)));
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${basename(command)} ${args.at(-1)}: ${(errors.trim() || output.trim()).split("\n").slice(-6).join(" | ")}`));
    });
  });
}

export const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Fills a directory of the cache once: whoever finishes first wins, and a run that is broken off leaves nothing that looks finished. */
export async function once(directory, fill) {
  if (await exists(directory)) return directory;
  await mkdir(dirname(directory), { recursive: true });
  const beside = await mkdtemp(`${directory}.`);
  try {
    await fill(beside);
    await rename(beside, directory).catch(async (error) => {
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return directory;
}
