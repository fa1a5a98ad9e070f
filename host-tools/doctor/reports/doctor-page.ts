/** `docs/doctor.md`: the commands, and every finding of the rule book. A test keeps the file up to date. */
import { allRules } from "../rule-book.js";
import { wrap } from "./terminal-report.js";

const COLUMNS = 118;

const INTRODUCTION = `# Doctor: what is wrong with a broker

\`hawser doctor\` examines MQTT brokers, yours or anybody's: a configuration file, a running broker, or the
fleet of a CA directory. Each finding has an id, a severity, a line, the reason, and the lines that fix it.

This page is generated from the table in \`host-tools/doctor/\`; \`npx vitest run host-tools/doctor/reports -u\`
updates it.

## A configuration file

<!-- doctor-config -->
\`\`\`sh
cat > mosquitto.conf <<'CONF'
listener 1883
allow_anonymous true
CONF
npx hawser doctor config mosquitto.conf --fail-on never
npx hawser doctor config mosquitto.conf --fix hardened --html report.html --sarif report.sarif --fail-on never
npx hawser doctor --explain HW020
\`\`\`

- mosquitto is read line by line as mosquitto reads it: included files in its order, options on the listener
  above them, the password, ACL, PSK, certificate, CRL and dynamic-security files. The verdict is for one
  version: \`--broker-version 2.0.11\`, 2.0.21 or 2.1; without it the mosquitto installed here counts. Tried on
  2.0.11, 2.0.21 and 2.1.2.
- RabbitMQ (rabbitmq.conf), EMQX (emqx.conf and its acl.conf) and NanoMQ (nanomq.conf) are read as far as a file
  tells: users and rules kept in the broker are not in it. Of EMQX 4's format, anonymous access, the default for
  topics and plain listeners are read.
- Files named by the configuration that are not on this machine are noted and not counted, so a repository
  without keys can be examined in CI.
- \`--fix DIR\` writes a hardened copy and examines it again. Originals are never changed. Passwords,
  certificates and rules that only you can decide on stay in the list. The exit code is that of the copy.

## A running broker

\`\`\`sh
hawser doctor mqtts://localhost:8883 --ca ca/root.crt.pem
hawser doctor mqtts://localhost:8883 --credentials dashboard --other-credentials sensor.json --active
hawser doctor mqtt://localhost:1883
\`\`\`

- Looked at: the handshake, the certificate, its names and end, old TLS versions and weak suites, plain MQTT on the
  TLS port and on \`--plain-port\` (default 1883), clients without credentials and with invented names, a self-made
  certificate, and what a subscription to \`#\` and \`$SYS/#\` brings. One message goes to a topic
  below \`hawser-doctor/\`, not retained.
- \`--credentials\` is a directory of \`hawser issue\`, or a JSON file with username, password, cert, key, ca and
  clientId. Passwords never stand on a command line.
- \`--try-passwords\` tries eight pairs that every scanner tries. \`--active\` adds what others may notice: a packet of
  1 MiB, half a CONNECT held for 20 s, and with two credentials a takeover by client id.
- The number of connections and bytes is printed before the first one, and kept. Only the host you name is contacted.
- From loopback, a port that the kernel shows bound to loopback alone is noted and no finding.
- Not seen from outside: whether a certificate's holder may call itself by another name (HW024). The configuration
  shows it.

## A fleet

\`hawser doctor fleet --dir ca\` reads a CA directory and the broker configurations it has written: CA, broker and
device certificates that end, lists that expire or forget a revoked certificate, names that were shut out and still
stand in a broker's PSK file, devices that did not renew, shared certificates, provisionings never finished, and each
broker's configuration as above. It needs no passphrase, so it proves nothing against somebody who may write there.

## In CI

\`hawser doctor config broker/mosquitto.conf --broker-version 2.0.11 --sarif doctor.sarif --fail-on high\`

| exit code | means |
|---|---|
| 0 | nothing as bad as \`--fail-on\` (default \`medium\`; \`never\` reports only) |
| 8 | something at least as bad as \`--fail-on\` |
| 2 | wrong usage |
| 4 | nothing answers at the URL, or what answers is not an MQTT broker |
| 6 | the file is not there, not readable or not this broker's |

## Grades

| grade | when |
|---|---|
| A | nothing was found |
| B | only low findings |
| C | medium ones |
| D | one or two high ones |
| F | a critical one, or three high ones |

Severities: **critical**, anybody has everything; **high**, there is a way in, or nobody gets in; **medium**,
weaker than it looks; **low**, without effect. Notes are worth knowing and count for nothing.
`;

export function doctorPage(): string {
  const list = allRules().map(([id, { title, severity }]) => `| [${id}](#${id.toLowerCase()}) | ${severity} | ${title} |`);
  const pages = allRules().map(([id, { title, severity, why, remedy, live, references }]) => {
    const parts = [`### ${id}`, "", `**${title}.** Severity: ${severity}.`, "", ...paragraph(why), "", ...paragraph(`Remedy: ${remedy}`)];
    if (live !== undefined) parts.push("", ...paragraph(`Seen live: ${live}.`));
    if (references.length > 0) parts.push("", ...paragraph(`See: ${references.join("; ")}.`));
    return parts.join("\n");
  });
  return `${INTRODUCTION}\n## Findings\n\n| id | severity | title |\n|---|---|---|\n${list.join("\n")}\n\n${pages.join("\n\n")}\n`;
}

function paragraph(text: string): string[] {
  // Names in angle brackets and stars of topics are text, not markup.
  return wrap(text.replace(/([<*])/g, "\\$1"), "", "", COLUMNS);
}
