/** `hawser issue`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json, parsePath } from "./shared-options.js";

export function addIssueCommand(program: Command, run: Run): void {
  const issue = caDirectory(program.command("issue").description("Make PEM files for a client that is no device: a backend, an operator, mosquitto_sub."))
    .requiredOption("--name <name>", "the client's name; clients and devices share one namespace")
    .requiredOption("--role <role>", "what it may do: backend, operator, monitor or authority")
    .requiredOption("--out <out>", "the directory to make for client.crt.pem (chain), client.key.pem and ca.crt.pem", parsePath)
    .option("--replace", "revoke what a client of this name had and replace its files");
  json(caPassphrase(issue));
  addHelp(issue, {
    notes: [
      "backend    reads devices/+/up/#, writes devices/+/down/#",
      "operator   reads devices/#, writes devices/+/down/#",
      "monitor    reads devices/+/up/# and $SYS/#",
      "authority  reads devices/+/identity/request, writes devices/+/identity/response",
      "A failure leaves the disk and the registry as they were; what a kill cut off, the same command ends.",
      "The key file is not encrypted and has mode 0600: brokers' clients want it so.",
    ],
    json: ['{"name":"backend-1","role":"backend","serial":"4f..","notAfter":"...","certificate":"OUT/client.crt.pem","key":"OUT/client.key.pem","ca":"OUT/ca.crt.pem"}'],
    examples: [
      "hawser issue --dir ca --name backend-1 --role backend --out backend-1",
      "mosquitto_sub -h localhost -p 8883 --cafile backend-1/ca.crt.pem --cert backend-1/client.crt.pem \\",
      "  --key backend-1/client.key.pem -t 'devices/+/up/#' -v",
    ],
    exits: [3, 5, 6],
  });
  issue.action(run(async () => (await import("../actions/issue.js")).issue));
}
