/** The embedded broker as an engine of `hawser broker run`. */
import type { BrokerEvent, BrokerMaterial } from "../../../sim/brokers/broker-events.js";
import { EmbeddedBroker } from "../../../sim/brokers/embedded-broker.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import { embeddedMaterial } from "./broker-material.js";
import { PublishRates } from "./publish-rates.js";
import type { BrokerEngine } from "./broker-engine.js";

/** @throws HawserError `PORT_IN_USE`, `LISTEN_FAILED`, and those of `brokerMaterial` */
export async function startEmbedded(
  ca: CertificateAuthority,
  ports: { mtlsPort: number; pskPort: number },
  onEvent: (event: BrokerEvent) => void,
): Promise<BrokerEngine> {
  const rates = new PublishRates();
  const material = async (): Promise<BrokerMaterial> => embeddedMaterial(await ca.brokerMaterial(), Date.now, rates);
  const broker = new EmbeddedBroker({ material: await material(), ...ports });
  broker.onEvent(onEvent);
  const { mtlsPort, pskPort } = await broker.start();
  return {
    mtlsPort,
    pskPort,
    reload: async () => broker.reload(await material()),
    stop: () => broker.stop(),
    died: new Promise(() => undefined),
  };
}
