/** The revocation lists of a CA directory over HTTP, as the directory is at each moment. */
import { errorCode, errorMessage } from "../../sdk/errors.js";
import { startCrlServer } from "../authority/crl-server.js";
import type { CrlServer } from "../authority/crl-server.js";
import { watchCa } from "../ca-directory/ca-watch.js";
import { servedCrls } from "../ca/crl-places.js";
import type { Terminal } from "./terminal.js";

/** @throws HawserError `NOT_A_CA`, `CA_CORRUPT`, `PORT_IN_USE`, `LISTEN_FAILED` */
export async function serveCrls(directory: string, port: number, host: string, terminal: Terminal): Promise<CrlServer> {
  let lists = await servedCrls(directory);
  const server = await startCrlServer(port, host, () => lists);
  const unwatch = watchCa(directory, () => {
    servedCrls(directory).then(
      (now) => (lists = now),
      (error: unknown) =>
        terminal.event(
          "crl-failed",
          { code: errorCode(error), message: errorMessage(error) },
          `${errorCode(error)}: ${errorMessage(error)}; the lists read before are served`,
          "red",
        ),
    );
  });
  const address = `${host.includes(":") ? `[${host}]` : host}:${server.port}`;
  terminal.event("crl-ready", { host, port: server.port, paths: [...lists.keys()] }, `revocation lists on http://${address}`, "green");
  return {
    port: server.port,
    close: async () => {
      unwatch();
      await server.close();
    },
  };
}
