/** The built-in broker of a station: boards connect to it by mutual TLS, and what it lets them publish is the proof. */
import { HawserError } from "../../../sdk/errors.js";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import type { ConnectionProof } from "../../station/factory/connection-proof.js";
import { embeddedMaterial } from "../foreground-broker/broker-material.js";
import { SeenBoards } from "./seen-boards.js";

export interface EmbeddedProof extends ConnectionProof {
  readonly mtlsPort: number;
  stop(): Promise<void>;
}

/**
 * @param port 0 takes a free one
 * @param host an address of this machine that boards reach; without it, loopback
 * @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`, and those of `brokerMaterial`
 */
export async function startEmbeddedProof(ca: CertificateAuthority, port: number, host?: string): Promise<EmbeddedProof> {
  const seen = new SeenBoards();
  const serials = new Map<string, string>();
  const material = async (): Promise<ReturnType<typeof embeddedMaterial>> => {
    const judged = embeddedMaterial(await ca.brokerMaterial());
    return {
      ...judged,
      authorize: (who, action, topic, details) => {
        const isAllowed = judged.authorize(who, action, topic, details);
        if (isAllowed && action === "publish" && who.scope === "full") seen.add(who.name, serials.get(who.name) ?? "", topic);
        return isAllowed;
      },
    };
  };
  const broker = new EmbeddedBroker({ material: await material(), mtlsPort: port, pskPort: 0, ...(host !== undefined && { host }) });
  broker.onEvent((event) => {
    if (event.type === "connected" && event.scope === "full" && event.serial !== undefined) serials.set(event.name, event.serial);
  });
  const { mtlsPort } = await broker.start();
  let reloading = Promise.resolve();
  const unwatch = watchCa(ca.directory, () => {
    // A reload that fails (a CA that is busy) is tried again by the next change, and by every board that waits.
    reloading = reloading.then(async () => broker.reload(await material())).catch(() => undefined);
  });
  return {
    kind: "broker",
    mtlsPort,
    async seen(id, serial, waitMs, signal) {
      const found = seen.find(id, serial);
      if (found !== undefined) return found;
      await reloading;
      if (signal.aborted) throw new HawserError("STOPPED", "the station was stopped", "Start it again: it continues where it stopped.");
      return seen.wait(id, serial, waitMs, signal);
    },
    async stop() {
      unwatch();
      await broker.stop();
    },
  };
}
