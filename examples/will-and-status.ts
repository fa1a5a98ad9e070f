/**
 * Tells others whether the device is online: it publishes "online" at each connection, and the broker publishes the will, "offline", when
 * the device vanishes. Where the broker keeps retained messages for devices, add `retain: true` to both.
 */
import { Device } from "hawser";
import { nodePlatform, Vault } from "hawser/node";

const vault = await Vault.open("fleet/sensor-1.vault", process.env["HAWSER_PASSPHRASE"] ?? "");
const device = new Device(
  { broker: { host: "localhost", port: 8883 }, will: { topic: "up/status", payload: "offline", qos: 1 } },
  nodePlatform({ vault }),
);
device.listen((event) => {
  if (event.type !== "connected") return;
  device.publish("up/status", "online", { qos: 1 }).then(
    () => console.log("online"),
    (error: unknown) => console.error(String(error)),
  );
});
device.start();
