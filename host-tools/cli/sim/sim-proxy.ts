/** Runs a fault proxy and its HTTP control until it is told to stop. */
import { randomBytes } from "node:crypto";
import { HawserError } from "../../../sdk/errors.js";
import { FaultProxy } from "../../../sim/proxy/fault-proxy.js";
import { addressOf, ProxyControl } from "../../../sim/proxy/proxy-control.js";
import { readToxic, type Toxic } from "../../../sim/proxy/toxics.js";
import type { Context } from "../command-runner.js";

export interface SimProxyOptions {
  upstream: string;
  listen: string;
  name: string;
  mqtt?: boolean;
  toxic?: string[];
  control: number;
  seed?: string;
  json?: boolean;
}

export async function runProxy(options: SimProxyOptions, { terminal, stop }: Context): Promise<void> {
  const seed = options.seed ?? randomBytes(6).toString("hex");
  const proxy = new FaultProxy({
    name: options.name,
    listen: addressOf(options.listen, 0),
    upstream: addressOf(options.upstream, 1),
    mqtt: options.mqtt === true,
    seed,
  });
  for (const toxic of (options.toxic ?? []).map(toxicOf)) proxy.add(toxic);
  const control = new ProxyControl(seed, `hawser ${HAWSER_VERSION}`);
  try {
    const controlPort = await control.start("127.0.0.1", options.control);
    await control.add(proxy);
    const url = `http://127.0.0.1:${controlPort}`;
    terminal.event(
      "ready",
      { port: proxy.port, control: url, seed },
      `port ${proxy.port} to ${options.upstream}, control ${url}, seed ${seed}`,
      "green",
    );
    await stop.asked;
  } finally {
    await control.stop();
  }
}

/** `type:key=value,...`; `stream` and `toxicity` beside the attributes. @throws HawserError `BAD_TOXIC` */
export function toxicOf(text: string): Toxic {
  const [type = "", rest = ""] = text.split(/:(.*)/s);
  const attributes: Record<string, unknown> = {};
  const fields: Record<string, unknown> = {};
  for (const part of rest.split(",").filter((piece) => piece !== "")) {
    const [key = "", value] = part.split(/=(.*)/s);
    if (value === undefined)
      throw new HawserError("BAD_TOXIC", `${JSON.stringify(part)} is not key=value`, "Write e.g. latency:latency=200,jitter=50.");
    const read =
      value === "true" ? true : value === "false" ? false : value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
    if (key === "stream" || key === "toxicity" || key === "name") fields[key] = read;
    else attributes[key] = read;
  }
  return readToxic({ type, ...fields, attributes });
}
