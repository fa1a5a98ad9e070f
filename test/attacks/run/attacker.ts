/** One attack on a broker, from an address of its own, until the process is killed. */
import { randomBytes } from "node:crypto";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import mqtt from "mqtt";
import { generate } from "mqtt-packet";
import { recoveryIdentity } from "../../../sdk/identity/device-id.js";
import { planFromStdin } from "./plans.js";
import type { Attack, AttackPlan } from "./plans.js";

const plan = await planFromStdin<AttackPlan>();
const { attack, mtlsPort, pskPort, from, target, shown } = plan;
const host = "127.0.0.1";
const certificate = { key: shown.keyPem, cert: shown.chainPem, ca: shown.trustAnchorPem, checkServerIdentity: () => undefined };

const EVERY_MS = 200;
const DENIED_EVERY_MS = 50;
/** Fewer than limits.nft lets one address hold. */
const HELD = 45;
const FLOOD_BATCH = 400;

/** `localAddress` is for TCP, to which `tls.connect` hands it on. */
function handshake(port: number, options: ConnectionOptions): TLSSocket {
  const from_ = { localAddress: from };
  return connectTls({ host, port, ...options, ...from_ }).on("error", () => undefined);
}

const ATTACKS: Readonly<Record<Attack, () => void>> = {
  "brute-force": () =>
    setInterval(() => {
      const guess = { identity: recoveryIdentity(target), psk: randomBytes(32) };
      handshake(pskPort, { ciphers: "ECDHE-PSK-CHACHA20-POLY1305", maxVersion: "TLSv1.2", pskCallback: () => guess });
    }, EVERY_MS),
  "other-ca": () => setInterval(() => handshake(mtlsPort, { ...certificate, rejectUnauthorized: false }), EVERY_MS),
  "foreign-topics": () => {
    const client = mqtt.connect({ protocol: "mqtts", host, port: mtlsPort, clientId: shown.id, ...certificate, ...{ localAddress: from } });
    client.once("connect", () => setInterval(() => client.publish(`devices/${target}/up/t`, "99", { qos: 1 }), DENIED_EVERY_MS));
  },
  takeover: () =>
    setInterval(() => {
      const options = { clientId: shown.id, reconnectPeriod: 0, ...certificate, ...{ localAddress: from } };
      mqtt.connect({ protocol: "mqtts", host, port: mtlsPort, ...options }).on("error", () => undefined);
    }, 3 * EVERY_MS),
  "slow-connect": () => {
    for (let n = 0; n < HELD; n += 1) {
      const socket = connectTcp({ host, port: mtlsPort, localAddress: from }).on("error", () => undefined);
      // The first bytes of a ClientHello that never comes.
      socket.write(Buffer.from("160301", "hex"));
    }
  },
  flood: () => {
    const socket = handshake(mtlsPort, certificate);
    const publish = generate({ cmd: "publish", topic: `devices/${shown.id}/up/t`, payload: "1", qos: 0, retain: false, dup: false });
    const batch = Buffer.concat(Array.from({ length: FLOOD_BATCH }, () => publish));
    const pour = (): void => {
      while (socket.write(batch));
    };
    socket.on("drain", pour);
    socket.once("secureConnect", () => {
      socket.write(generate({ cmd: "connect", clientId: shown.id, protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 0 }));
      pour();
    });
    socket.resume();
  },
};

process.stdout.write("begun\n");
ATTACKS[attack]();
setInterval(() => undefined, 60_000);
