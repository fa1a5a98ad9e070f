/** `hawser policy ...`: write, check, question and test the policy. */
import { Option } from "commander";
import type { Command } from "commander";
import type { DiffOptions } from "../actions/policy-diff.js";
import type { TestOptions } from "../actions/policy-test.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { json, parsePath } from "./shared-options.js";

export function addPolicyCommands(program: Command, run: Run): void {
  const policy = program.command("policy").description("Write, check and test the policy: who may use which topics, and which line says so.");
  for (const add of [addInit, addCheck, addExplain, addWho, addDiff, addTest, addDocs]) add(policy, run);
}

/** Where policy and names come from, the same for every question. */
function sources(command: Command): Command {
  return command
    .option("--policy <file>", "the policy (default: DIR/policy.yaml, else the built-in policy)", parsePath)
    .addOption(new Option("--dir <dir>", "the CA directory whose names it is for").argParser(parsePath).conflicts("inventory"))
    .option("--inventory <file>", "the names, from a YAML file instead of a CA directory", parsePath);
}

function addInit(policy: Command, run: Run): void {
  const init = policy
    .command("init")
    .description("Write the built-in policy as a file to start from.")
    .addOption(new Option("--out <file>", "file to write; must not exist").argParser(parsePath).default("policy.yaml"))
    .option("--schema <file>", "write the JSON Schema for editors to this file as well", parsePath);
  json(init);
  addHelp(init, { json: ['{"policy":"policy.yaml","schema":"policy.schema.json"}'], examples: ["hawser policy init", "hawser policy init --out fleet.yaml --schema policy.schema.json"], exits: [5, 6] });
  init.action(run(async () => (await import("../actions/policy-init.js")).initPolicy));
}

function addCheck(policy: Command, run: Run): void {
  const check = sources(policy.command("check").description("Look for errors and doubtful rules."))
    .option("--strict", "fail on warnings too");
  json(check);
  addHelp(check, {
    notes: ["Without --dir or --inventory the policy is checked alone, not against names."],
    json: ['{"ok":true,"findings":[{"level":"warning","code":"UNUSED_ROLE","line":12,"path":"roles.x","message":".."}]}'],
    examples: ["hawser policy check --policy policy.yaml", "hawser policy check --dir ca --strict"],
    exits: [6],
  });
  check.action(run(async () => (await import("../actions/policy-check.js")).check));
}

function addExplain(policy: Command, run: Run): void {
  const explain = sources(policy.command("explain").description("Show what a name may do, and which line of the policy says so."))
    .requiredOption("--id <id>", "the device or client")
    .option("--topic <topic>", "one topic or filter, instead of everything")
    .option("--at <time>", "as of then, such as 2027-01-31T08:00:00Z (default: now)")
    .option("--from <address>", "as a client at this IP address");
  json(explain);
  addHelp(explain, {
    json: ['{"id":"dev1","role":"device","rights":[{"listener":"mtls","effect":"allow","access":"publish","filter":"devices/dev1/up/#","line":27}]}', 'with --topic: {"id":"dev1","topic":"t","verdicts":[{"listener":"mtls","action":"publish","allowed":true,"line":27,"because":".."}]}'],
    examples: ["hawser policy explain --dir ca --id sensor-1", "hawser policy explain --inventory names.yaml --policy policy.yaml --id backend --topic 'devices/+/up/#'"],
    exits: [6],
  });
  explain.action(run(async () => (await import("../actions/policy-questions.js")).explain));
}

function addWho(policy: Command, run: Run): void {
  const who = sources(policy.command("who").description("List everybody who can write or read a topic."))
    .requiredOption("--topic <topic>", "a topic name, without wildcards")
    .option("--at <time>", "as of then, such as 2027-01-31T08:00:00Z (default: now)");
  json(who);
  addHelp(who, {
    notes: ["Rights that depend on an address or a time that does not hold now are listed with their condition."],
    json: ['{"topic":"devices/dev1/up/t","who":[{"id":"backend","role":"backend","listener":"mtls","action":"receive","line":51}]}'],
    examples: ["hawser policy who --dir ca --topic devices/sensor-1/down/reboot"],
    exits: [6],
  });
  who.action(run(async () => (await import("../actions/policy-questions.js")).who));
}

function addDiff(policy: Command, run: Run): void {
  const diff = policy
    .command("diff")
    .description("Show what every name gains and loses from one policy to another.")
    .argument("<old>", "the policy now", parsePath)
    .argument("<new>", "the policy to come", parsePath)
    .addOption(new Option("--dir <dir>", "the CA directory whose names it is for").argParser(parsePath).conflicts("inventory"))
    .option("--inventory <file>", "the names, from a YAML file instead of a CA directory", parsePath)
    .option("--all", "list changes that another right makes up for, too");
  json(diff);
  addHelp(diff, {
    notes: ["Changes that are the same for many names are one line."],
    json: ['{"changes":[{"change":"loses","role":"sensor","names":["dev1",".."],"listener":"mtls","effect":"allow","access":"publish","filter":"devices/{id}/up/#","when":""}]}'],
    examples: ["hawser policy diff ca/policy.yaml new.yaml --dir ca"],
    exits: [6],
  });
  diff.action((oldFile: string, newFile: string, options: Omit<DiffOptions, "old" | "new">) =>
    run<DiffOptions>(async () => (await import("../actions/policy-diff.js")).diff)({ ...options, old: oldFile, new: newFile }),
  );
}

function addTest(policy: Command, run: Run): void {
  const test = sources(policy.command("test").description("Run a file of assertions about who may do what."))
    .argument("<files...>", "test files (docs/policy.md has the form)")
    .option("--junit <file>", "write a JUnit report to this file", parsePath);
  json(test);
  addHelp(test, {
    json: ['{"passed":12,"failed":1,"results":[{"file":"t.yaml","name":"dev1 on mtls may publish x","passed":true,"because":"..","line":27}]}'],
    examples: ["hawser policy test policy.test.yaml --policy policy.yaml", "hawser policy test tests/*.yaml --dir ca --junit policy-tests.xml"],
    exits: [6],
  });
  test.action((files: string[], options: Omit<TestOptions, "files">) => run<TestOptions>(async () => (await import("../actions/policy-test.js")).test)({ ...options, files }));
}

function addDocs(policy: Command, run: Run): void {
  const docs = policy
    .command("docs")
    .description("Write the topic catalogue: every topic with its rules in one place.")
    .option("--policy <file>", "the policy (default: DIR/policy.yaml, else the built-in policy)", parsePath)
    .option("--dir <dir>", "the CA directory the policy is in", parsePath)
    .option("--markdown <file>", "write it as Markdown", parsePath)
    .option("--html <file>", "write it as HTML", parsePath)
    .option("--asyncapi <file>", "write an AsyncAPI 3 document (JSON)", parsePath)
    .addOption(new Option("--host <host>", "the broker's host in the AsyncAPI document").default("localhost"));
  json(docs);
  addHelp(docs, {
    notes: ["Without a file to write, the Markdown goes to stdout."],
    json: ['{"files":["topics.md","topics.json"]}'],
    examples: ["hawser policy docs --policy policy.yaml --markdown topics.md --asyncapi topics.json", "hawser policy docs --dir ca"],
    exits: [6],
  });
  docs.action(run(async () => (await import("../actions/policy-docs.js")).docs));
}
