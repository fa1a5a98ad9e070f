/** `hawser issue`. */
import type { Command } from "commander";
import { addHelp, onCa } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addIssueCommand(program: Command, run: Run): void {
  const issue = caDirectory(
    program.command("issue").description("Issue PEM credentials for a client that is not a device: a backend, an operator, mosquitto_sub."),
  )
    .requiredOption("--name <name>", "client's name; clients and devices share one namespace")
    .requiredOption("--role <role>", "client's rights: backend, operator, monitor or authority")
    .requiredOption("--out <out>", "directory to create for client.crt.pem (chain), client.key.pem and ca.crt.pem", parsePath)
    .option("--attribute <name=value>", "an attribute that the policy declares, such as site=b1; repeatable", collect)
    .option("--replace", "revoke the client's old certificates and replace its files");
  json(caPassphrase(issue));
  addHelp(issue, {
    notes: [
      "backend    reads devices/+/up/#, writes devices/+/down/#",
      "operator   reads devices/#, writes devices/+/down/#",
      "monitor    reads devices/+/up/# and $SYS/#",
      "authority  reads devices/+/identity/request, writes devices/+/identity/response",
      "A failure changes neither the disk nor the registry. If the command is killed, run it again to finish.",
      "The key file is not encrypted, as MQTT clients require; its mode is 0600.",
    ],
    json: [
      '{"name":"backend-1","role":"backend","serial":"4f..","notAfter":"...","certificate":"OUT/client.crt.pem","key":"OUT/client.key.pem","ca":"OUT/ca.crt.pem"}',
    ],
    examples: [
      "hawser issue --dir ca --name backend-1 --role backend --out backend-1",
      "mosquitto_sub -h localhost -p 8883 --cafile backend-1/ca.crt.pem --cert backend-1/client.crt.pem \\",
      "  --key backend-1/client.key.pem -t 'devices/+/up/#' -v",
    ],
    exits: [3, 5, 6],
  });
  issue.action(run(onCa(async () => (await import("./issue.js")).issue)));
}
