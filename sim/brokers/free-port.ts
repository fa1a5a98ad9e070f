/** Ports for brokers that are launched as programs of their own and cannot be asked to take port 0. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { HawserError } from "../../sdk/errors.js";

/** Below the range from which Linux takes the local ports of outgoing connections (32768..60999): none of those can come in between. */
const LOWEST_PORT = 20_000;
const HIGHEST_PORT = 32_000;
const TRIES = 200;

/** Handed out already: a launched broker may need a moment before it listens. */
const handedOut = new Set<number>();

/**
 * Ports that are free on the IPv4 and the IPv6 loopback address, each handed out once in the life of this process.
 * Another program may still take one before the broker does; the launcher then says `PORT_IN_USE`.
 * @throws HawserError `NO_FREE_PORT`
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let tries = 0; ports.length < count; tries += 1) {
    if (tries >= TRIES * count) {
      throw new HawserError(
        "NO_FREE_PORT",
        `found no ${count} free ports between ${LOWEST_PORT} and ${HIGHEST_PORT} on loopback`,
        "Stop programs that use ports, or specify the ports.",
      );
    }
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    if (await isPortFree(port)) ports.push(port);
  }
  return ports;
}

/** Whether a program could listen on this loopback port now. */
export async function isPortFree(port: number): Promise<boolean> {
  for (const host of ["127.0.0.1", "::1"]) {
    if (!(await canListen(host, port))) return false;
  }
  return true;
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // A machine without IPv6 has nothing that could hold the port there.
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "EADDRINUSE" && error.code !== "EACCES"));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}
