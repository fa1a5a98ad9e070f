/** `hawser ca request`, `root-sign` and `answer`: errands to an offline root. */
import { Option } from "commander";
import type { Command } from "commander";
import { ERRANDS } from "../../ca/root-errand-names.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

/** Where a key is made. */
export function signerOption(command: Command): Command {
  return command.option(
    "--signer <uri>",
    'make the issuing key in a PKCS#11 token: an RFC 7512 URI with token and object, the library as ?module-path=FILE; or "file" (default: a sealed file)',
  );
}

export function addRootErrands(ca: Command, run: Run): void {
  addRequest(ca, run);
  addRootSign(ca, run);
  addAnswer(ca, run);
}

function addRequest(ca: Command, run: Run): void {
  const command = caDirectory(
    ca
      .command("request")
      .description("Write a request to an offline root or parent PKI: for another issuing CA or root, or a revocation list."),
  )
    .requiredOption("--out <file>", "file to write the request to", parsePath)
    .addOption(
      new Option("--for <errand>", "another issuing CA, the end of the one before, a fresh revocation list, or another root")
        .choices([...ERRANDS])
        .default("rollover"),
    )
    .option("--force", "with --for retire: also when names still hang on the issuing CA before")
    .option("--existing-key", "use the key of this name that is in the token already");
  signerOption(command);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "The request is a text: read it. Take it to the root's folder (`hawser ca root-sign`), and import what comes back (`hawser ca answer`).",
    ],
    json: ['{"request":"request.txt","for":"rollover","text":"A request to .."}'],
    examples: ["hawser ca request --dir ca --out request.txt", "hawser ca request --dir ca --for crl --out request.txt"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-root-errands.js")).request));
}

function addRootSign(ca: Command, run: Run): void {
  const command = ca
    .command("root-sign")
    .description("Answer a request, with the folder of an offline root.")
    .requiredOption("--root <folder>", "the folder that `hawser ca init --root offline` made", parsePath)
    .requiredOption("--request <file>", "the request", parsePath)
    .requiredOption("--out <file>", "file to write the answer to", parsePath)
    .option("--yes", "sign without asking: you have read the request")
    .option("--root-signer <uri>", "for another root, where the root's key is in a token: PKCS#11 URI of the next one")
    .option("--existing-key", "use the key of this name that is in the token already")
    .option(
      "--root-passphrase-file <file>",
      "file whose first line is the root's passphrase (default: $HAWSER_ROOT_PASSPHRASE or the file $HAWSER_ROOT_PASSPHRASE_FILE, else a prompt)",
      parsePath,
    )
    .option("--pin-file <file>", "file whose first line is the PIN, if the root's key is in a token (default: as for the CA)", parsePath);
  json(command);
  addHelp(command, {
    notes: [
      "Shows the request and asks before it signs. A request that was changed on the way, or that an issuing CA of this root did not sign, is refused. If interrupted, run it again.",
    ],
    json: ['{"answer":"answer.txt","request":"A request to .."}'],
    examples: ["hawser ca root-sign --root /media/safe/offline-root --request request.txt --out answer.txt"],
    exits: [3, 6],
  });
  command.action(run(async () => (await import("./ca-root-errands.js")).rootSign));
}

function addAnswer(ca: Command, run: Run): void {
  const command = caDirectory(ca.command("answer").description("Import what the offline root or the parent PKI answered.")).requiredOption(
    "--answer <file>",
    "the answer; of a parent PKI: certificates or revocation lists, PEM or DER; repeatable",
    collect,
  );
  json(caPassphrase(command));
  addHelp(command, {
    notes: ["Everything in it is checked against the root's certificate. An older answer, or one to another request, is refused."],
    json: [
      '{"issuing":"Plant 7 Issuing CA 2","crlNextUpdate":".."}',
      'to --for root, also: {"root":"63..","rootNotAfter":".."}',
      'to --for retire: {"retired":true,"leftBehind":[],"crlNextUpdate":".."}',
    ],
    examples: ["hawser ca answer --dir ca --answer answer.txt"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-root-errands.js")).answer));
}
