/** `hawser ca serve`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { parsePort } from "../flag-values.js";
import { caDirectory, json } from "../shared-options.js";

export function addServe(ca: Command, run: Run): void {
  const serve = caDirectory(ca.command("serve").description("Serve the revocation lists over HTTP, for brokers and tools that fetch them."))
    .requiredOption("--port <port>", "port to listen on; 0 lets the system choose", parsePort)
    .option("--host <address>", "address to listen on", "127.0.0.1");
  json(serve);
  addHelp(serve, {
    notes: [
      "Needs no passphrase, signs nothing and has no TLS: lists are public and signed. `hawser authority --crl-port` does the same, and renews them.",
      "Certificates say where to look if the CA knows the address: `ca init --crl-url`, `ca crl --url`.",
    ],
    json: [
      '{"time":"..","event":"crl-ready","host":"127.0.0.1","port":8880,"paths":["/5a..e1.crl","/9c..07.crl"]}',
      "also: crl-failed (code), stopped",
    ],
    examples: ["hawser ca serve --dir ca --port 8880", "hawser ca serve --dir ca --host 0.0.0.0 --port 8880"],
    exits: [4, 6],
  });
  serve.action(run(async () => (await import("./ca-serve.js")).serveLists));
}
