/** `hawser authority`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseBrokerUrl } from "../values.js";
import { caDirectory, caPassphrase, connectTimeout, json } from "./shared-options.js";

export function addAuthorityCommand(program: Command, run: Run): void {
  const authority = caDirectory(program.command("authority").description("Run the enrolment service: devices' certificate requests in over MQTT, certificates out."))
    .requiredOption("--url <url>", "the broker's mTLS port, mqtts://HOST:PORT", parseBrokerUrl);
  connectTimeout(authority);
  json(caPassphrase(authority));
  addHelp(authority, {
    notes: [
      "It connects with a short-lived certificate of its own, made in memory (name: hawser-authority). A device gets at most 12 new certificates an hour.",
      "A request that a broker kept (retained, or queued while this service was away) is not served: the device asks again.",
      "Once a minute it ends, at configured brokers, the sessions of certificates that expired, and what could not be done there before.",
    ],
    json: [
      '{"time":"...","event":"connected","url":"mqtts://localhost:8883"}',
      '{"time":"...","event":"issued","id":"sensor-1","requestId":"..","serial":"4f..","repeated":false}',
      '{"time":"...","event":"active","id":"sensor-1","serial":"4f..","retired":["3a.."]}',
      "also: refused (code), failed (code), ignored (reason), throttled, sessions-ended (broker, names), sync-failed (code), disconnected (code),",
      "retrying (delayMs), stopped",
    ],
    examples: ["hawser authority --dir ca --url mqtts://localhost:8883"],
    exits: [3, 4, 5, 6],
  });
  authority.action(run(async () => (await import("../actions/authority.js")).runAuthority));
}
