/** `hawser ca`: what makes a certificate authority and keeps it. */
import { Option } from "commander";
import type { Command } from "commander";
import { REGISTRY_PLACES } from "../../ca-directory/registry-kinds.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect, parseKeyType, parseLifetimeMs } from "../flag-values.js";
import { checkCrlBase } from "../../pki/crl-base-url.js";
import { addBackupCommands } from "./ca-backup-command.js";
import { addServe } from "./ca-serve-command.js";
import { addVerifyCommands } from "./ca-verify-command.js";
import { addRootErrands, signerOption } from "./ca-root-command.js";
import { caDirectory, caPassphrase, json, parsePath, registryUrlFile, weakPassphrase } from "../shared-options.js";

export function addCaCommands(program: Command, run: Run): void {
  const ca = program.command("ca").description("Create and maintain the certificate authority of a fleet.");
  addInit(ca, run);
  addStatus(ca, run);
  addCrl(ca, run);
  addServe(ca, run);
  addBrokerCert(ca, run);
  addVerifyCommands(ca, run);
  addPassphrase(ca, run);
  addRollover(ca, run);
  addBackupCommands(ca, run);
  addRootErrands(ca, run);
}

function addInit(ca: Command, run: Run): void {
  const init = ca
    .command("init")
    .description("Create a CA directory: root and issuing CA, keys encrypted or in a token, CRLs and the broker's certificate.")
    .requiredOption("--dir <dir>", "directory to create; must not exist, or must be empty", parsePath)
    .option("--name <name>", "name in the CA's certificates", "Hawser")
    .option(
      "--broker-host <host>",
      "DNS name or IP address by which devices reach the broker; repeatable (default: localhost, 127.0.0.1, ::1)",
      collect,
    );
  certificateOptions(init);
  signerOption(init)
    .option("--root-signer <uri>", "the same for the root's key (default: a sealed file)")
    .addOption(
      new Option("--root <place>", "where the root's key is to live: here, in a folder that you carry away, or with a parent PKI")
        .choices(["here", "offline", "parent"])
        .default("here"),
    )
    .option(
      "--root-passphrase-file <file>",
      "with --root offline: file whose first line is the root's passphrase (default: $HAWSER_ROOT_PASSPHRASE or the file $HAWSER_ROOT_PASSPHRASE_FILE, else the CA's)",
      parsePath,
    )
    .option("--csr <file>", "with --root parent: file to write the request for the issuing CA to", parsePath)
    .option("--chain <file>", "the second run: certificates from the parent, from issuing CA to root, PEM or DER; repeatable", collect)
    .option("--crl <file>", "with --chain: revocation lists of the parent's CAs, PEM or DER; repeatable", collect)
    .option("--existing-key", "use keys of these names that are in the token already")
    .addOption(
      new Option(
        "--registry <kind>",
        "where names are kept: files, one for each, sqlite, one database, or postgres, for several machines (see hawser registry)",
      )
        .choices(REGISTRY_PLACES)
        .default("files"),
    );
  registryUrlFile(init);
  json(weakPassphrase(caPassphrase(init)));
  addHelp(init, {
    notes: [
      "The passphrase encrypts the CA's keys. Anyone with the directory and the passphrase can create devices: back up both, separately.",
    ],
    json: ['{"dir":"ca","name":"Hawser","brokerHosts":["localhost","127.0.0.1","::1"],"root":"ca/root.crt.pem"}'],
    examples: [
      "HAWSER_PASSPHRASE='a long passphrase' hawser ca init --dir ca",
      "hawser ca init --dir ca --name 'Plant 7' --broker-host mqtt.example.com --broker-host 10.0.0.5 --passphrase-file /run/secrets/ca",
      "hawser ca init --dir ca --root-life 25y --root-key P-384 --device-life 90d",
      "hawser ca init --dir ca --registry sqlite",
      "hawser ca init --dir ca --root parent --csr issuing.csr.pem",
      "hawser ca init --dir ca --chain chain.pem --crl parent.crl",
      "hawser ca init --dir ca --signer 'pkcs11:token=hawser;object=issuing' --pin-file /run/secrets/pin",
    ],
    exits: [3, 5, 6],
  });
  init.action(run(async () => (await import("./ca-init.js")).makeCa));
}

/** What certificates are like: recorded in the CA. */
function certificateOptions(init: Command): void {
  init
    .option("--root-name <name>", "common name of the root (default: NAME Root CA)")
    .option("--issuing-name <name>", "common name of the issuing CA (default: NAME Issuing CA)")
    .option("--root-key <type>", "curve of the root's key: P-256 or P-384", parseKeyType, "P-256")
    .option("--issuing-key <type>", "curve of the issuing CA's key: P-256 or P-384", parseKeyType, "P-256")
    .addOption(lifetime("--root-life <life>", "lifetime of the root", "20y"))
    .addOption(lifetime("--issuing-life <life>", "lifetime of the issuing CA", "5y"))
    .addOption(lifetime("--broker-life <life>", "lifetime of the broker's certificate", "825d"))
    .addOption(lifetime("--device-life <life>", "lifetime of devices' certificates", "365d"))
    .addOption(lifetime("--client-life <life>", "lifetime of other clients' certificates", "365d"))
    .addOption(lifetime("--crl-life <life>", "how long a revocation list is valid", "30d"))
    .option(
      "--crl-url <url>",
      "where revocation lists are found, for certificates to say: http://HOST[:PORT] (see hawser ca serve)",
      checkCrlBase,
    );
}

function lifetime(flags: string, description: string, usual: string): Option {
  return new Option(flags, description).argParser(parseLifetimeMs).default(parseLifetimeMs(usual), usual);
}

function addCrl(ca: Command, run: Run): void {
  const crl = caDirectory(ca.command("crl").description("Sign new certificate revocation lists before the old ones expire.")).option(
    "--root",
    "also the list of a root in a token, which is valid for a year",
  );
  crl.option("--url <url>", "have certificates made from now on say that lists are found there: http://HOST[:PORT]", checkCrlBase);
  json(caPassphrase(crl));
  addHelp(crl, {
    notes: [
      "With --url, the list of an issuing CA that issued before there was a URL does not name it: EMQX waits for the next rollover.",
      "A broker refuses all clients once its CRL has expired. `hawser broker run` renews it; for other brokers, run this daily and reload the broker.",
    ],
    json: ['{"crl":"ca/crl.pem","nextUpdate":"2026-12-20T12:00:00.000Z"}'],
    examples: [
      "hawser ca crl --dir ca",
      "# crontab:",
      "0 3 * * *  hawser ca crl --dir /srv/ca --passphrase-file /run/secrets/ca && systemctl reload mosquitto",
    ],
    exits: [3, 5, 6],
  });
  crl.action(run(async () => (await import("./ca-crl.js")).renewCrl));
}

function addStatus(ca: Command, run: Run): void {
  const status = caDirectory(ca.command("status").description("Show what expires when, and end with 1 when something needs attention."));
  json(caPassphrase(status));
  addHelp(status, {
    notes: [
      "Attention is asked for from 60 days before an end, or in the last quarter of a shorter life.",
      "Exit code 1: root, issuing CA, broker or revocation list end soon or have ended, or a name",
      "was not renewed in time. The authority's own certificate lives for a day: it is shown only.",
    ],
    json: [
      '{"dir":"ca","ok":true,"verified":true,"parts":[{"what":"root","notAfter":"..","daysLeft":7304,"state":"ok"},..],"names":{"count":3,"late":0,"first":[..]}}',
    ],
    examples: ["hawser ca status --dir ca", "hawser ca status --dir ca --json | jq -r '.parts[] | select(.state != \"ok\") | .what'"],
    exits: [3, 6],
  });
  status.action(run(async () => (await import("./ca-status.js")).showStatus));
}

function addBrokerCert(ca: Command, run: Run): void {
  const command = caDirectory(ca.command("broker-cert").description("Give the broker a new key and certificate, for other hosts if asked."))
    .option("--add-host <host>", "a DNS name or IP address to add; repeatable", collect)
    .option("--remove-host <host>", "one to leave out; repeatable", collect);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "Any change of the CA renews the certificate after two thirds of its life. Brokers of `hawser broker config` on this machine take it over at once.",
    ],
    json: ['{"serial":"4f..","notAfter":"..","hosts":["localhost","mqtt.example.com"]}'],
    examples: ["hawser ca broker-cert --dir ca", "hawser ca broker-cert --dir ca --add-host mqtt.example.com --remove-host 127.0.0.1"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-broker-cert.js")).renewBrokerCertificate));
}

function addPassphrase(ca: Command, run: Run): void {
  const command = caDirectory(ca.command("passphrase").description("Change the passphrase: reseals everything in one change.")).option(
    "--new-passphrase-file <file>",
    "file whose first line is the new passphrase (default: $HAWSER_NEW_PASSPHRASE or the file $HAWSER_NEW_PASSPHRASE_FILE, else a prompt)",
    parsePath,
  );
  json(weakPassphrase(caPassphrase(command)));
  addHelp(command, {
    notes: [
      "Services that run on the CA stop changing it (PASSPHRASE_CHANGED) until they are started with the new one; hawser authority ends. If the command is killed, run any command: it finishes the change.",
    ],
    json: ['{"dir":"ca","changed":true}'],
    examples: ["hawser ca passphrase --dir ca", "hawser ca passphrase --dir ca --passphrase-file old --new-passphrase-file new"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-passphrase.js")).changePassphrase));
}

function addRollover(ca: Command, run: Run): void {
  const command = caDirectory(
    ca.command("rollover").description("Make another issuing CA, under the same root or under another, or retire the one before."),
  )
    .option("--root", "make another root as well, which the present one vouches for")
    .option("--root-signer <uri>", "with --root, where the root's key is in a token: PKCS#11 URI of the next one")
    .option("--retire", "end the issuing CA before, and the root before, once nothing hangs on them")
    .option("--force", "with --retire: also when names still hang on it")
    .option("--existing-key", "use the key of this name that is in the token already");
  signerOption(command);
  json(caPassphrase(command));
  addHelp(command, {
    notes: [
      "Devices trust the root alone, so nothing changes for them: they get a certificate of the new",
      "issuing CA when they renew. Until it is retired, brokers believe the old one as well.",
      "With --root, brokers show what leads from the new root to the old one: who trusts the old",
      "one alone goes on, until it ends.",
    ],
    json: [
      '{"issuing":"Plant 7 Issuing CA 2","serial":"4f..","notAfter":"..","broker":"5a.."}',
      'with --root, also: {"root":"63..","rootNotAfter":".."}',
      'with --retire: {"retired":true,"leftBehind":[]}',
    ],
    examples: ["hawser ca rollover --dir ca", "hawser ca status --dir ca", "hawser ca rollover --dir ca --retire"],
    exits: [3, 5, 6],
  });
  command.action(run(async () => (await import("./ca-rollover.js")).rollOver));
}
