/**
 * A second factor beside the certificate. A broker asks for it if its policy says `requires: [certificate, token]`: see docs/policy.md. The
 * token is a JWT signed by the device's key, so no secret has to be distributed. For a password, use `login` instead of `token`; the one
 * that Hawser's CA made with the certificate needs no distribution either.
 */
import { certificatePassword, Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const given = process.env["DEVICE_PASSWORD"];
const secondFactor = process.argv.includes("--password")
  ? { login: given === undefined ? certificatePassword(vault.keyStore) : () => ({ password: given }) } // asked for before each connection
  : { token: { audience: "mqtt", lifetimeSeconds: 3_600 } };
const device = new Device({ broker: { host: "localhost", port: 8883 }, ...secondFactor }, nodePlatform({ vault }));
device.listen((event) => console.log(event.type));
device.start();
await device.publish("up/hello", "signed in", { qos: 1 });
await device.stop();
vault.close();
