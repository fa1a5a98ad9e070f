// A device that says of each message when `publish` has accepted it (queue: true, persistent outbox). Killed at any moment by the test.
// Arguments: vault, mTLS port, PSK port, the first number to send. SIGUSR1 asks for a renewal.
import { Device } from "../../dist/sdk/index.js";
import { nodePlatform, Vault } from "../../dist/sim/index.js";

const [vaultPath, mtlsPort, pskPort, first] = process.argv.slice(2);
const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
process.on("SIGUSR1", () => device.renew());
const vault = Vault.open(vaultPath, process.env.HAWSER_PASSPHRASE);
const device = new Device(
  {
    broker: { host: "localhost", port: Number(mtlsPort) },
    recovery: { host: "localhost", port: Number(pskPort) },
    outbox: { persistent: true, maxMessages: 5_000 },
    backoff: { baseMs: 200, capMs: 1_000 },
  },
  nodePlatform({ vault }),
);
device.listen((event) => say({ event: event.type, ...event }));
device.start();
for (let n = Number(first); ; n++) {
  await device.publish("up/counter", String(n), { qos: 1, queue: true });
  say({ event: "accepted", n });
  await new Promise((resolve) => setTimeout(resolve, 10));
}
