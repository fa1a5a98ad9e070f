/**
 * A process for the dialer's tests that listens on loopback with room for two waiting connections, prints its port and never takes one:
 * once two wait, the kernel drops every further attempt, as a black hole in the network would.
 */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

const server = createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`, () => {
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
});
