/** Sees to it that a child process does not outlive this one. */
import { spawn, type ChildProcess } from "node:child_process";

/**
 * On an ordinary end of this process the child is ended by an exit handler. For `kill -9` of this process a small shell stands by: it reads
 * from a pipe whose other end only this process holds, and the end of that pipe makes it end the child. The shell has a session of its own,
 * so that Ctrl-C in a terminal does not reach it. Where there is no `sh` (Windows) only the exit handler remains, and a `kill -9` of the
 * shell and of this process at the same time leaves the child behind.
 * @returns ends the watch; to be called when the child has ended, before its process id can belong to another
 */
export function watchOver(child: ChildProcess): () => void {
  const endChild = (): void => void child.kill("SIGTERM");
  process.once("exit", endChild);
  const guard =
    child.pid === undefined
      ? undefined
      : spawn("sh", ["-c", 'read -r _; kill -TERM "$1"', "sh", String(child.pid)], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  guard?.on("error", () => undefined);
  guard?.stdin.on("error", () => undefined);
  // Neither keeps this process alive.
  guard?.unref();
  return () => {
    process.removeListener("exit", endChild);
    guard?.kill("SIGKILL");
  };
}
