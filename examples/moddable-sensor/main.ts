/** The first sensor on an ESP32. Build: mcconfig -m -p esp32 -t build -o build (docs/firmware.md). */
import { Device } from "hawser";
import { openBoard } from "hawser/firmware";
import Timer from "timer";

const board = openBoard({ wifi: { ssid: "plant", password: "change me" }, timeServers: ["0.pool.ntp.org", "1.pool.ntp.org"] });

async function main(): Promise<void> {
  board.start();
  // Waits for `hawser provision --serial` on a board without an identity.
  await board.provisioned();
  const device = new Device(
    { broker: { host: "mqtt.example.com", port: 8883 }, buildTimeMs: board.buildTimeMs, maximumPacketSizeBytes: 4_000 },
    board.platform,
  );
  device.listen(({ type }) => board.platform.log("info", type));
  device.start();
  Timer.repeat(() => {
    // An unhandled rejection would end the program.
    device.publish("up/reading", JSON.stringify({ signalDbm: board.signalDbm() }), { qos: 1 }).catch(() => undefined);
  }, 60_000);
  for await (const { topic } of device.subscribe("down/#", { qos: 1 })) board.platform.log("info", "command", { topic });
}

main().catch((error: unknown) => board.platform.log("error", String(error)));
