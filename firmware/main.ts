/** The reference sensor: publishes a reading every so often, takes commands, and leaves everything else to Hawser. */
import { Device, HawserError } from "hawser";
import { openBoard } from "hawser/firmware";
import config from "mc/config";
import Timer from "timer";

const DEFAULT_INTERVAL_SECONDS = 60;
/** Fits into one TLS record of 4 KiB, the largest that the chip's settings take. */
const LARGEST_PACKET_BYTES = 4_000;

const { serial: device, tx, rx } = config;
const serial = {
  ...(device ? { device } : {}),
  ...(tx ? { transmit: Number(tx) } : {}),
  ...(rx ? { receive: Number(rx) } : {}),
};

const board = openBoard({
  wifi: { ssid: config.ssid ?? "", ...(config.password ? { password: config.password } : {}) },
  timeServers: (config.sntp ?? "").split(","),
  ...(Object.keys(serial).length > 0 ? { serial } : {}),
});
const { log } = board.platform;

async function main(): Promise<void> {
  board.start();
  await board.provisioned();
  const broker = { host: config.broker ?? "", port: Number(config.port ?? 8883), serverName: config.serverName ?? config.broker ?? "" };
  const recovery = config.recoveryPort ? { recovery: { ...broker, port: Number(config.recoveryPort) } } : {};
  const patienceMs = Number(config.patienceSeconds ?? 0) * 1_000;
  const patience = patienceMs > 0 ? { recoveryPatience: { minimumMs: patienceMs, maximumMs: 2 * patienceMs } } : {};
  const device = new Device(
    { broker, ...recovery, ...patience, buildTimeMs: board.buildTimeMs, maximumPacketSizeBytes: LARGEST_PACKET_BYTES },
    board.platform,
  );
  device.listen(({ type, ...details }) => log("info", type, { details: JSON.stringify(details) }));
  device.start();

  const publish = (topic: string, value: object): void => {
    // A rejection nobody takes would end the virtual machine: a full outbox is a line in the log.
    device
      .publish(topic, JSON.stringify(value), { qos: 1 })
      .catch((error: unknown) => log("warn", "not published", { topic, error: String(error) }));
  };
  const report = (): void =>
    publish("up/reading", { uptimeSeconds: Math.floor(board.platform.clock.monotonicMs() / 1_000), signalDbm: board.signalDbm() });
  const interval = Timer.repeat(report, Number(config.intervalSeconds ?? DEFAULT_INTERVAL_SECONDS) * 1_000);

  const commands = device.subscribe("down/#", { qos: 1 });
  void board.keepImage(commands);
  for await (const { topic, payload } of commands) {
    const command = topic.slice(device.topic("down/").length);
    const text = String.fromCharCode(...payload.subarray(0, 64));
    if (command === "read") report();
    else if (command === "interval" && Number(text) >= 1) Timer.schedule(interval, Number(text) * 1_000, Number(text) * 1_000);
    else if (command === "renew") device.renew();
    else log("warn", "unknown command", { command });
    publish("up/done", { command });
  }
}

main().catch((error: unknown) => {
  const { code, message, nextStep } = error instanceof HawserError ? error : { code: "INTERNAL", message: String(error), nextStep: "" };
  log("error", `${code}: ${message}`, { nextStep });
});
