/** `hawser list`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json } from "./shared-options.js";

export function addListCommand(program: Command, run: Run): void {
  const list = caDirectory(program.command("list").description("List devices and clients: role, state, serial and expiry."));
  json(caPassphrase(list));
  addHelp(list, {
    json: ['[{"id":"sensor-1","kind":"device","role":"sensor","state":"active","serial":"4f..","notAfter":"..","certificates":[..]}]'],
    notes: [
      "Shows the first digits of each serial; --json prints it in full.",
      'With a passphrase from a file or the environment, verifies all entries before showing them. Without one, warns "not verified" on stderr.',
      "States: reserved (being provisioned), active, certificate-revoked (may recover with its pre-shared key), revoked (shut out).",
    ],
    examples: ["hawser list --dir ca", "hawser list --dir ca --json | jq -r '.[] | select(.state == \"active\") | .id'"],
    exits: [3, 6],
  });
  list.action(run(async () => (await import("../actions/list.js")).list));
}
