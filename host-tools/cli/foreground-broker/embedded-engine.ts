/** The embedded broker as an engine of `hawser broker run`. */
import type { BrokerEvent } from "../../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { embeddedMaterial } from "./broker-material.js";
import type { BrokerEngine } from "./broker-engine.js";

/** @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`, and those of `brokerMaterial` */
export async function startEmbedded(
  ca: CertificateAuthority,
  ports: { mtlsPort: number; pskPort: number },
  onEvent: (event: BrokerEvent) => void,
): Promise<BrokerEngine> {
  const broker = new EmbeddedBroker({ material: embeddedMaterial(await ca.brokerMaterial()), ...ports });
  broker.onEvent(onEvent);
  const { mtlsPort, pskPort } = await broker.start();
  return {
    mtlsPort,
    pskPort,
    reload: async () => broker.reload(embeddedMaterial(await ca.brokerMaterial())),
    stop: () => broker.stop(),
    died: new Promise(() => undefined),
  };
}
