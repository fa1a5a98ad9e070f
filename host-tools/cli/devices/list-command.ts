/** `hawser list`. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import type { EntryState } from "../../ca-directory/registry-entry.js";
import { SORT_ORDERS } from "../../ca-directory/registry-query.js";
import { addHelp, onCa } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseCount, parseLifetimeMs } from "../flag-values.js";
import { caDirectory, caPassphrase, json } from "../shared-options.js";

const STATES: Readonly<Record<EntryState, string>> = {
  reserved: "being provisioned",
  active: "may connect",
  "certificate-revoked": "may recover with its pre-shared key",
  revoked: "shut out",
};

export function addListCommand(program: Command, run: Run): void {
  const list = caDirectory(program.command("list").description("List devices and clients: role, state, attributes, serial and expiry."))
    .option("--id <pattern>", "only ids of this form: * stands for any characters, ? for one")
    .addOption(new Option("--kind <kind>", "only devices, or only clients").choices(["device", "client"]))
    .option("--state <state>", "only names in this state; repeatable", collectState)
    .option("--role <role>", "only names with this role; repeatable", collect)
    .option("--class <class>", "only devices of this class of the policy")
    .option("--attribute <name=value>", "only names with this attribute; repeat it for another value or attribute", collect)
    .option("--lacks <name>", "only names without this attribute; repeatable", collect)
    .addOption(
      new Option("--expires-within <time>", "only certificates that end within this time, or have ended: 30d").argParser(parseLifetimeMs),
    )
    .option("--previous-issuer", "during a rollover: only names with a certificate of the issuing CA before")
    .addOption(new Option("--sort <order>", "by id, or by the end of the certificate").choices([...SORT_ORDERS]))
    .addOption(new Option("--limit <count>", "show at most so many").argParser(parseCount))
    .option("--count", "print only how many there are")
    .addOption(new Option("--format <form>", "a table, JSON lines or CSV (default: table)").choices(["table", "jsonl", "csv"]));
  json(caPassphrase(list));
  addHelp(list, {
    json: [
      '[{"id":"sensor-1","kind":"device","role":"sensor","state":"active","attributes":{"site":"b1"},"serial":"4f..","notAfter":"..","certificates":[..]}]',
      'with --count: {"count":1,"states":{"active":1}}',
    ],
    notes: [
      "Different filters must all fit; of one filter that is repeated, one value must.",
      "Shows the first digits of each serial; --json, jsonl and CSV print it in full.",
      'With a passphrase from a file or the environment, verifies all entries before showing them. Without one, warns "not verified" on stderr.',
      `States: ${Object.entries(STATES)
        .map(([state, meaning]) => `${state} (${meaning})`)
        .join(", ")}.`,
    ],
    examples: [
      "hawser list --dir ca",
      "hawser list --dir ca --state active --attribute site=b1 --expires-within 30d",
      "hawser list --dir ca --role sensor --count",
      "hawser list --dir ca --format csv > devices.csv",
    ],
    exits: [3, 6],
  });
  list.action(run(onCa(async () => (await import("./list.js")).list)));
}

function collectState(text: string, previous: readonly string[] | undefined): string[] {
  if (!Object.hasOwn(STATES, text)) throw new InvalidArgumentError(`Allowed choices are ${Object.keys(STATES).join(", ")}.`);
  return collect(text, previous);
}
