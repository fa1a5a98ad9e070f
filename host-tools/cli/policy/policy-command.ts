/** `hawser policy ...`: write, check, question and test the policy. */
import { Option } from "commander";
import type { Command } from "commander";
import type { ApplyOptions } from "./policy-apply.js";
import type { DiffOptions } from "./policy-diff.js";
import type { TestOptions } from "./policy-test.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { CHECK_TARGETS, COMPILER_TARGETS } from "../../brokers/compiler-targets.js";
import { QUARANTINE_RULES } from "../../monitor/alert.js";
import { collect, parseCount, parsePort } from "../flag-values.js";
import { caDirectory, caPassphrase, json, parsePath } from "../shared-options.js";

export function addPolicyCommands(program: Command, run: Run): void {
  const policy = program.command("policy").description("Write, check and test the policy: who may use which topics, and why.");
  for (const add of [
    addInit,
    addCheck,
    addExplain,
    addWho,
    addDiff,
    addTest,
    addDocs,
    addApply,
    addSet,
    addQuarantine,
    addPassword,
    addCompile,
    addServe,
  ])
    add(policy, run);
}

/** Where policy and names come from, the same for every question. */
function sources(command: Command): Command {
  return command
    .option("--policy <file>", "policy file (default: DIR/policy.yaml, else the built-in policy)", parsePath)
    .addOption(new Option("--dir <dir>", "CA directory that has the names").argParser(parsePath).conflicts("inventory"))
    .option("--inventory <file>", "names from a YAML or JSON file instead of a CA directory", parsePath);
}

function addInit(policy: Command, run: Run): void {
  const init = policy
    .command("init")
    .description("Write the built-in policy to a file, as a starting point.")
    .addOption(new Option("--out <file>", "file to write; must not exist").argParser(parsePath).default("policy.yaml"))
    .option("--schema <file>", "also write the JSON Schema for editors to this file", parsePath);
  json(init);
  addHelp(init, {
    json: ['{"policy":"policy.yaml","schema":"policy.schema.json"}'],
    examples: ["hawser policy init", "hawser policy init --out fleet.yaml --schema policy.schema.json"],
    exits: [5, 6],
  });
  init.action(run(async () => (await import("./policy-init.js")).initPolicy));
}

function addCheck(policy: Command, run: Run): void {
  const check = sources(policy.command("check").description("Check the policy for errors and doubtful rules."))
    .addOption(new Option("--target <target>", "also report what this broker cannot hold").choices([...CHECK_TARGETS]))
    .option("--strict", "fail on warnings too");
  json(check);
  addHelp(check, {
    notes: [
      "Without --dir or --inventory, checks the policy alone, not against names.",
      "With --policy and --dir, also names devices that could no longer ask for certificates.",
    ],
    json: ['{"ok":true,"findings":[{"level":"warning","code":"UNUSED_ROLE","line":12,"path":"roles.x","message":".."}]}'],
    examples: [
      "hawser policy check --policy policy.yaml",
      "hawser policy check --dir ca --strict",
      "hawser policy check --policy policy.yaml --target embedded",
    ],
    exits: [6],
  });
  check.action(run(async () => (await import("./policy-check-results.js")).check));
}

function addExplain(policy: Command, run: Run): void {
  const explain = sources(policy.command("explain").description("Show what a name may do, and which policy line says so."))
    .requiredOption("--id <id>", "the device or client")
    .option("--topic <topic>", "one topic or filter instead of everything")
    .option("--at <time>", "as of this time, e.g. 2027-01-31T08:00:00Z (default: now)")
    .option("--from <address>", "as a client at this IP address");
  json(explain);
  addHelp(explain, {
    json: [
      '{"id":"dev1","role":"device","rights":[{"listener":"mtls","effect":"allow","access":"publish","filter":"devices/dev1/up/#","line":27}]}',
      'with --topic: {"id":"dev1","topic":"t","verdicts":[{"listener":"mtls","action":"publish","allowed":true,"line":27,"because":".."}]}',
    ],
    examples: [
      "hawser policy explain --dir ca --id sensor-1",
      "hawser policy explain --inventory names.yaml --policy policy.yaml --id backend --topic 'devices/+/up/#'",
    ],
    exits: [6],
  });
  explain.action(run(async () => (await import("./policy-explain.js")).explain));
}

function addWho(policy: Command, run: Run): void {
  const who = sources(policy.command("who").description("List everyone who can publish to or read a topic."))
    .requiredOption("--topic <topic>", "a topic name, without wildcards")
    .option("--at <time>", "as of this time, e.g. 2027-01-31T08:00:00Z (default: now)");
  json(who);
  addHelp(who, {
    notes: ["Rights limited to an address or time that does not match now are listed with their condition."],
    json: ['{"topic":"devices/dev1/up/t","who":[{"id":"backend","role":"backend","listener":"mtls","action":"receive","line":51}]}'],
    examples: ["hawser policy who --dir ca --topic devices/sensor-1/down/reboot"],
    exits: [6],
  });
  who.action(run(async () => (await import("./policy-explain.js")).who));
}

function addDiff(policy: Command, run: Run): void {
  const diff = policy
    .command("diff")
    .description("Show what each name gains and loses between two policies.")
    .argument("<old>", "current policy", parsePath)
    .argument("<new>", "new policy", parsePath)
    .addOption(new Option("--dir <dir>", "CA directory that has the names").argParser(parsePath).conflicts("inventory"))
    .option("--inventory <file>", "names from a YAML or JSON file instead of a CA directory", parsePath)
    .option("--all", "also list changes that another right makes up for");
  json(diff);
  addHelp(diff, {
    notes: ["Groups changes that are the same for many names into one line."],
    json: [
      '{"changes":[{"change":"loses","role":"sensor","names":["dev1",".."],"listener":"mtls","effect":"allow","access":"publish","filter":"devices/{id}/up/#","when":""}]}',
    ],
    examples: ["hawser policy diff ca/policy.yaml new.yaml --dir ca"],
    exits: [6],
  });
  diff.action((oldFile: string, newFile: string, options: Omit<DiffOptions, "old" | "new">) =>
    run<DiffOptions>(async () => (await import("./policy-diff.js")).diff)({ ...options, old: oldFile, new: newFile }),
  );
}

function addTest(policy: Command, run: Run): void {
  const test = sources(policy.command("test").description("Run a file of assertions about who may do what."))
    .argument("<files...>", "test files (format: docs/policy.md)")
    .option("--junit <file>", "write a JUnit report to this file", parsePath);
  json(test);
  addHelp(test, {
    json: [
      '{"passed":12,"failed":1,"results":[{"file":"t.yaml","name":"dev1 on mtls may publish x","passed":true,"because":"..","line":27}]}',
    ],
    examples: [
      "hawser policy test policy.test.yaml --policy policy.yaml",
      "hawser policy test tests/*.yaml --dir ca --junit policy-tests.xml",
    ],
    exits: [6],
  });
  test.action((files: string[], options: Omit<TestOptions, "files">) =>
    run<TestOptions>(async () => (await import("./policy-test.js")).test)({ ...options, files }),
  );
}

function addDocs(policy: Command, run: Run): void {
  const docs = policy
    .command("docs")
    .description("Write the topic catalogue: every topic and its rules in one place.")
    .option("--policy <file>", "policy file (default: DIR/policy.yaml, else the built-in policy)", parsePath)
    .option("--dir <dir>", "CA directory that holds the policy", parsePath)
    .option("--markdown <file>", "write it as Markdown", parsePath)
    .option("--html <file>", "write it as HTML", parsePath)
    .option("--asyncapi <file>", "write an AsyncAPI 3 document (JSON)", parsePath)
    .addOption(new Option("--host <host>", "the broker's host in the AsyncAPI document").default("localhost"));
  json(docs);
  addHelp(docs, {
    notes: ["Prints Markdown to stdout if no output file is given."],
    json: ['{"files":["topics.md","topics.json"]}'],
    examples: ["hawser policy docs --policy policy.yaml --markdown topics.md --asyncapi topics.json", "hawser policy docs --dir ca"],
    exits: [6],
  });
  docs.action(run(async () => (await import("./policy-docs.js")).docs));
}

function addCompile(policy: Command, run: Run): void {
  const compile = sources(policy.command("compile").description("Write a broker's configuration, or firewall rules, from the policy."))
    .addOption(new Option("--for <target>", "target to write for").choices([...COMPILER_TARGETS]).makeOptionMandatory())
    .requiredOption("--out <out>", "directory to create; must not exist, or must be empty or written by this command", parsePath)
    .option("--at <directory>", "where the files will be on the broker's machine (default: OUT)", parsePath)
    .option(
      "--tls <directory>",
      "where ca.crt.pem, broker.crt.pem, broker.key.pem, crl.pem and psk.txt are on that machine (default: as --at)",
      parsePath,
    )
    .option("--listener <name>", "only this listener; repeatable", collect)
    .option("--plugin <path>", "mosquitto: path of mosquitto_dynamic_security.so on that machine, or none (default: found here)", parsePath)
    .addOption(new Option("--user <name>", "mosquitto: user it runs as on that machine").default(undefined, "mosquitto"))
    .option(
      "--keys",
      "also write the CA's ca.crt.pem, broker.crt.pem, broker.key.pem, crl.pem and psk.txt to OUT; needs --dir and the CA's passphrase",
    );
  json(caPassphrase(compile));
  addHelp(compile, {
    notes: [
      "Rejects what the target cannot express and names the policy line. Prints the remaining risks.",
      "Files have mode 0600 and are yours: give them to the broker's user.",
      "For mosquitto on this machine, use `hawser broker config`: it keeps the files in step with the CA.",
      "Elsewhere, reload mosquitto, then end the sessions of names that lost rights: hawser broker end-sessions.",
    ],
    json: ['{"for":"emqx","out":"emqx","files":["emqx.conf","acl.conf"],"risks":[".."]}'],
    examples: [
      "hawser policy compile --dir ca --for rabbitmq --out rabbitmq --listener mtls",
      "hawser policy compile --dir ca --for mosquitto --out mosquitto --keys --at /etc/hawser",
      "hawser policy compile --policy policy.yaml --inventory names.yaml --for firewall --out firewall",
    ],
    exits: [3, 4, 5, 6],
  });
  compile.action(run(async () => (await import("./policy-compile.js")).compile));
}

function addServe(policy: Command, run: Run): void {
  const serve = sources(
    policy
      .command("serve")
      .description("Answer brokers' access questions over HTTP until SIGINT or SIGTERM. Reloads when its files change."),
  )
    .addOption(new Option("--port <port>", "port to listen on; 0 lets the system choose").argParser(parsePort).default(8089, "8089"))
    .addOption(
      new Option("--host <address>", "address to listen on; beyond loopback, requires --tls-cert, --tls-key and --secret-file").default(
        "127.0.0.1",
      ),
    )
    .option("--tls-cert <file>", "certificate chain, PEM", parsePath)
    .option("--tls-key <file>", "private key of the certificate, PEM", parsePath)
    .option("--secret-file <file>", "file whose first line brokers send as `Authorization: Bearer SECRET`", parsePath)
    .option("--cache-seconds <seconds>", "let brokers cache answers this long (default: no caching)", parsePort);
  json(caPassphrase(serve));
  addHelp(serve, {
    notes: [
      "EMQX: /emqx/authn and /emqx/authz. RabbitMQ: /rabbitmq/user, vhost, resource and topic.",
      "NanoMQ: /nanomq/auth, super and acl. VerneMQ webhooks: /vernemq. ?listener=NAME picks a listener.",
      "Brokers deny access while it is down, or if its files are damaged at start. If they are damaged later, the last good state remains.",
    ],
    json: [
      '{"time":"..","event":"ready","host":"127.0.0.1","port":8089}',
      "also: reloaded, reload-failed (code, message), stopped (questions, denied)",
    ],
    examples: [
      "hawser policy serve --dir ca",
      "hawser policy serve --dir ca --host 10.0.0.5 --tls-cert s.crt --tls-key s.key --secret-file secret",
    ],
    exits: [3, 4, 6],
  });
  serve.action(run(async () => (await import("./policy-serve.js")).serve));
}

function addApply(policy: Command, run: Run): void {
  const apply = caDirectory(policy.command("apply").description("Apply a new policy to a CA and all its brokers, or to none."))
    .argument("<file>", "the policy", parsePath)
    .option("--force", "apply even if it cuts off all authorities, operators or devices, or drops a role that a device has");
  json(caPassphrase(apply));
  addHelp(apply, {
    notes: [
      "Checks, compiles and tries the policy for every broker configuration of the CA before changing anything. Records the change in the audit trail.",
      "Preview the change: hawser policy diff DIR/policy.yaml FILE --dir DIR",
    ],
    json: ['{"policy":"factory","sha256":"..","changed":true}'],
    examples: ["hawser policy apply policy.yaml --dir ca"],
    exits: [3, 4, 5, 6],
  });
  apply.action((file: string, options: Omit<ApplyOptions, "file">) =>
    run<ApplyOptions>(async () => (await import("./policy-apply.js")).apply)({ ...options, file }),
  );
}

function addSet(policy: Command, run: Run): void {
  const set = caDirectory(policy.command("set").description("Change the role or the attributes of a device or client."))
    .requiredOption("--id <id>", "the device or client")
    .option("--attribute <name=value>", "set an attribute; NAME= removes it; repeatable", collect)
    .option("--role <role>", "new role")
    .option("--default-rights", "accept a device role that the policy does not name: it has the rights of defaultDeviceRole");
  json(caPassphrase(set));
  addHelp(set, {
    notes: ["Takes effect on brokers at once. Only attributes that the policy declares can be set."],
    json: ['{"id":"press-1","role":"machine","attributes":{"site":"b1"}}'],
    examples: [
      "hawser policy set --dir ca --id press-1 --attribute site=b1 --attribute line=l2",
      "hawser policy set --dir ca --id board --role viewer",
    ],
    exits: [3, 4, 5, 6],
  });
  set.action(run(async () => (await import("./policy-set.js")).set));
}

function addQuarantine(policy: Command, run: Run): void {
  const quarantine = caDirectory(
    policy.command("quarantine").description("Put the device that an alert names into quarantine: a command for hooks of hawser monitor."),
  )
    .addOption(new Option("--on <rule...>", "only for alerts of these rules").choices(QUARANTINE_RULES).makeOptionMandatory())
    .option("--role <role>", "role for quarantine; the policy must name it", "quarantined")
    .option("--per-hour <count>", "at most so many devices an hour", parseCount, 3);
  json(caPassphrase(quarantine));
  addHelp(quarantine, {
    notes: [
      "Reads one event as JSON from standard input. Nothing is done for other events, for alerts older than an hour, and for devices that are in quarantine or shut out.",
      "Never for clients that are not devices: authorities, backends, operators. `hawser policy set --role` undoes it; the audit trail has the role before.",
      "The passphrase cannot be asked for: give --passphrase-file.",
    ],
    json: ['{"id":"pump-1","done":true,"role":"quarantined","before":"pump"}', '{"done":false,"reason":".."}'],
    examples: ["hawser policy quarantine --dir ca --on message-rate new-network --passphrase-file passphrase < alert.json"],
    exits: [3, 4, 5, 6],
  });
  quarantine.action(run(async () => (await import("./policy-quarantine.js")).quarantineByAlert));
}

function addPassword(policy: Command, run: Run): void {
  const password = caDirectory(
    policy.command("password").description("Give a device or client a new random password, for listeners that ask for one."),
  )
    .requiredOption("--id <id>", "the device or client")
    .requiredOption("--out <out>", "file to write the password to, mode 0600; must not exist", parsePath);
  json(caPassphrase(password));
  addHelp(password, {
    notes: ["The CA keeps a hash only. Brokers that were configured by `hawser policy compile` take it with the next compile."],
    json: ['{"id":"backend","file":"backend.password"}'],
    examples: ["hawser policy password --dir ca --id backend --out backend.password"],
    exits: [3, 4, 5, 6],
  });
  password.action(run(async () => (await import("./policy-password.js")).password));
}
