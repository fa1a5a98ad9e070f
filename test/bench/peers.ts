/** What the clients talk to: the sink, and a mosquitto of our own where one is asked for. */
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../../sim/brokers/free-port.js";
import { startMosquitto, type RunningMosquitto } from "../../sim/brokers/mosquitto-launcher.js";
import { TestCa } from "../support/node/test-pki.js";
import { Part } from "./processes.js";
import type { SinkPorts } from "./sink.js";
import type { Identity, PeerName, Place, Transport } from "./task.js";

export interface Peers {
  place(peer: PeerName, transport: Transport): Place;
  stop(): Promise<void>;
}

export async function startPeers(withMosquitto: boolean): Promise<Peers> {
  const directory = mkdtempSync(join(tmpdir(), "hawser-bench-"));
  const sink = new Part("sink");
  let mosquitto: RunningMosquitto | undefined;
  const stop = async (): Promise<void> => {
    await sink.stop();
    await mosquitto?.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const ca = await TestCa.create("bench");
    const identity = await makeIdentity(ca);
    const { chainPem, keyPem } = await ca.server(["127.0.0.1"]);
    const [plain = 0, mTLS = 0] = withMosquitto ? await freePorts(2) : [];
    if (withMosquitto) {
      const files = {
        "ca.pem": ca.caPem,
        "server.pem": chainPem,
        "key.pem": keyPem,
        "mosquitto.conf": configuration(directory, plain, mTLS),
      };
      for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o600 });
      mosquitto = await startMosquitto({ configFile: join(directory, "mosquitto.conf"), ports: [plain, mTLS] });
    }
    const sinkPorts = await sink.ask({ tls: { cert: chainPem, key: keyPem, ca: ca.caPem }, brokers: withMosquitto ? [plain] : [] });
    const ports: Record<PeerName, SinkPorts> = { sink: sinkPorts, mosquitto: { plain, mTLS } };
    return { stop, place: (peer, transport) => ({ port: ports[peer][transport], ...(transport === "mTLS" && { identity }) }) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** No delays and no limits: what is measured is the client. */
function configuration(directory: string, plain: number, mTLS: number): string {
  return `
per_listener_settings true
user root
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
listener ${plain} 127.0.0.1
allow_anonymous true
listener ${mTLS} 127.0.0.1
allow_anonymous true
require_certificate true
cafile ${join(directory, "ca.pem")}
certfile ${join(directory, "server.pem")}
keyfile ${join(directory, "key.pem")}
`;
}

async function makeIdentity(ca: TestCa): Promise<Identity> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const chain = await ca.clientChain(publicKey.export({ type: "spki", format: "der" }), "bench");
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString("base64");
  return {
    key: base64(privateKey.export({ type: "pkcs8", format: "der" })),
    chain: chain.map(base64),
    trustAnchors: ca.trustAnchors.map(base64),
  };
}
