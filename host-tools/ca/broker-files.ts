/** The files a broker needs beside its configuration, for one that no configuration of the CA directory names. */
import { mosquittoPskFile } from "../brokers/mosquitto/mosquitto-acl.js";
import { MOSQUITTO_FILES } from "../brokers/mosquitto/mosquitto-config.js";
import { brokerFacts } from "./broker-facts.js";
import type { CaContext } from "./context.js";

/**
 * Anchors, the broker's certificate and key, the revocation lists and the pre-shared keys as they are now, by the names that `hawser policy
 * compile --tls` expects.
 * Secrets: for files of mode 0600.
 *
 * @throws HawserError `CA_CORRUPT`
 */
export function brokerFiles({ store, keys }: CaContext): Promise<ReadonlyMap<string, string>> {
  return store.change((draft) => {
    const facts = brokerFacts(draft, keys, draft);
    return Promise.resolve(
      new Map([
        [MOSQUITTO_FILES.anchors, facts.anchorsPem],
        [MOSQUITTO_FILES.chain, facts.brokerChainPem],
        [MOSQUITTO_FILES.key, facts.brokerKeyPem],
        [MOSQUITTO_FILES.crl, facts.crlPem],
        [MOSQUITTO_FILES.psk, mosquittoPskFile(facts.keys)],
      ]),
    );
  });
}
