/**
 * A process for the dialer's tests: prints its port; says "goodbye" to whoever sends something and leaves without reading it, so that the
 * kernel resets the connection.
 */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

const server = createServer({ pauseOnConnect: true }, (socket) => {
  socket.on("error", () => undefined);
  // Long enough for the first bytes to arrive; they are never read.
  setTimeout(() => socket.write("goodbye", () => socket.destroy()), 20);
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
