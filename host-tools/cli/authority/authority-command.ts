/** `hawser authority`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parseBrokerUrl, parsePort } from "../flag-values.js";
import { caDirectory, caPassphrase, connectTimeout, json, parsePath } from "../shared-options.js";

export function addAuthorityCommand(program: Command, run: Run): void {
  const authority = caDirectory(
    program.command("authority").description("Run the enrolment service: answers devices' certificate requests over MQTT."),
  ).requiredOption("--url <url>", "the broker's mTLS port, mqtts://HOST:PORT", parseBrokerUrl);
  authority
    .option("--agents <port>", "also serve the agents of brokers on other machines, at this port; 0 lets the system choose", parsePort)
    .option("--agents-host <address>", "address to listen on for agents (default: all addresses)", parsePath);
  authority.option("--shared", "one of several at this broker, on a registry that machines share");
  connectTimeout(authority);
  authority
    .option("--crl-port <port>", "also serve the revocation lists over HTTP on this port; 0 lets the system choose", parsePort)
    .option("--crl-host <address>", "address to serve them on", "127.0.0.1")
    .option("--ocsp", "also answer OCSP there, at /ocsp");
  json(caPassphrase(authority));
  addHelp(authority, {
    notes: [
      "Connects as hawser-authority with a short-lived certificate made in memory. Issues each device at most 12 certificates an hour.",
      "Requests that a broker stored (retained, or queued while the service was down) are not answered: the device asks again.",
      "On one CA directory, one runs at a time. With --shared, several on one registry share the requests at one broker, a directory each;",
      "they connect as hawser-authority-MACHINE and hawser-authority-MACHINE-requests.",
      "Ends with PASSPHRASE_CHANGED (exit code 3) when the CA's passphrase is changed meanwhile: start it again with the new one.",
      "Once a minute, ends the sessions of expired certificates at the configured brokers, and retries whatever failed there before.",
    ],
    json: [
      '{"time":"...","event":"connected","url":"mqtts://localhost:8883","name":"hawser-authority","resumedSession":false}',
      '{"time":"...","event":"issued","id":"sensor-1","requestId":"..","serial":"4f..","repeated":false}',
      '{"time":"...","event":"active","id":"sensor-1","serial":"4f..","retired":["3a.."]}',
      '{"time":"...","event":"agent-connected","broker":"east","isServing":true,"applied":1795944000000}',
      "also: agents-ready (port), agent-updated (applied), agent-failed (why), agent-refused (address, certificate)",
      "with --shared also: resting (code, reason): the others get all requests for a while",
      "also: refused (code), failed (code), ignored (reason), throttled, sessions-ended (broker, names), sync-failed (code), disconnected (code),",
      "retrying (delayMs), stopped",
    ],
    examples: [
      "hawser authority --dir ca --url mqtts://localhost:8883",
      "hawser authority --dir ca --url mqtts://localhost:8883 --crl-port 8880 --ocsp",
    ],
    exits: [3, 4, 5, 6],
  });
  authority.action(run(async () => (await import("./authority.js")).runAuthority));
}
