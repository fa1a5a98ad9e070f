/**
 * A process for the lock tests. Arguments: lock file, ledger file, rounds, whether it dies with the lock each time ("crash") or once at the
 * end.
 * Each round takes the lock, writes "enter <pid>" and "leave <pid>" to the ledger, and lets go. Rounds "hold": takes the lock and waits.
 */
import { appendFileSync } from "node:fs";
import { HawserError } from "../../../sdk/errors.js";
import { lockWithin } from "../../../sim/node/files/process-lock.js";

const [lockPath = "", ledger = "", rounds = "", ending = ""] = process.argv.slice(2);

const held = (): HawserError => new HawserError("LOCK_HELD" as never, "the lock is held", "Wait.");

const take = (): ReturnType<typeof lockWithin> => lockWithin(lockPath, 30_000, held);

if (rounds === "hold") {
  const lock = await take();
  process.stdout.write("held\n");
  process.stdin.resume();
  process.stdin.on("end", () => lock.release());
} else {
  for (let round = 0; round < Number(rounds); round += 1) {
    const lock = await take();
    appendFileSync(ledger, `enter ${process.pid}\n`);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
    appendFileSync(ledger, `leave ${process.pid}\n`);
    if (ending === "crash") process.kill(process.pid, "SIGKILL");
    lock.release();
  }
}
