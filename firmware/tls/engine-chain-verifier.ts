/** Judges this device's own certificates with the TLS engine, as the SDK's port asks for it. */
import type { ChainVerifier } from "../../sdk/platform.js";
import type { TlsEngines } from "./tls-engine.js";

export function engineChainVerifier(engines: TlsEngines): ChainVerifier {
  return {
    leadsTo(chain, trustAnchors) {
      const engine = engines.createEngine();
      try {
        return (
          trustAnchors.every((der) => engine.addAnchor(der)) && chain.every((der) => engine.addCertificate(der)) && engine.verifyChain()
        );
      } finally {
        engine.close();
      }
    },
  };
}
