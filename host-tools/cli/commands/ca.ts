/** `hawser ca init` and `hawser ca crl`. */
import type { Command } from "commander";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { collect } from "../values.js";
import { caDirectory, caPassphrase, json, parsePath, weakPassphrase } from "./shared-options.js";

export function addCaCommands(program: Command, run: Run): void {
  const ca = program.command("ca").description("Make and keep the certificate authority of a fleet.");
  addInit(ca, run);
  addCrl(ca, run);
}

function addInit(ca: Command, run: Run): void {
  const init = ca
    .command("init")
    .description("Make a CA directory: P-256 root and issuing CA, encrypted keys, CRLs, and the broker's certificate.")
    .requiredOption("--dir <dir>", "the directory to make; it must not exist or be empty", parsePath)
    .option("--name <name>", "the name in the CA's certificates", "Hawser")
    .option("--broker-host <host>", "a DNS name or IP address devices reach the broker by; repeatable (default: localhost, 127.0.0.1, ::1)", collect);
  json(weakPassphrase(caPassphrase(init)));
  addHelp(init, {
    notes: ["The passphrase encrypts the CA's keys. Whoever has the directory and the passphrase can make devices; back both up, apart."],
    json: ['{"dir":"ca","name":"Hawser","brokerHosts":["localhost","127.0.0.1","::1"],"root":"ca/root.crt.pem"}'],
    examples: [
      "HAWSER_PASSPHRASE='a long passphrase' hawser ca init --dir ca",
      "hawser ca init --dir ca --name 'Plant 7' --broker-host mqtt.example.com --broker-host 10.0.0.5 --passphrase-file /run/secrets/ca",
    ],
    exits: [3, 5, 6],
  });
  init.action(run(async () => (await import("../actions/ca-init.js")).makeCa));
}

function addCrl(ca: Command, run: Run): void {
  const crl = caDirectory(ca.command("crl").description("Sign new certificate revocation lists before the old ones expire."));
  json(caPassphrase(crl));
  addHelp(crl, {
    notes: ["A broker refuses everybody once its CRL has expired. `hawser broker run` renews it; for other brokers run this daily, then reload the broker."],
    json: ['{"crl":"ca/crl.pem","nextUpdate":"2026-12-20T12:00:00.000Z"}'],
    examples: ["hawser ca crl --dir ca", "# crontab:", "0 3 * * *  hawser ca crl --dir /srv/ca --passphrase-file /run/secrets/ca && systemctl reload mosquitto"],
    exits: [3, 5, 6],
  });
  crl.action(run(async () => (await import("../actions/ca-crl.js")).renewCrl));
}
