/** `hawser registry`: where a CA keeps its names, and how machines share them. */
import { Option } from "commander";
import type { Command } from "commander";
import { REGISTRY_PLACES } from "../../ca-directory/registry-kinds.js";
import { addHelp } from "../command-runner.js";
import type { Run } from "../command-runner.js";
import { caDirectory, caPassphrase, json, parsePath, registryUrlFile } from "../shared-options.js";

export function addRegistryCommands(program: Command, run: Run): void {
  const registry = program.command("registry").description("Choose where a CA keeps its registry, and share it among machines.");
  addMove(registry, run);
  addJoin(registry, run);
  addConnect(registry, run);
  addSnapshot(registry, run);
  addFollow(registry, run);
}

function addMove(registry: Command, run: Run): void {
  const move = caDirectory(registry.command("move").description("Move the registry: verified before, compared before it counts."));
  move.addOption(
    new Option("--to <kind>", "files: one for each name; sqlite: one database in the CA directory; postgres: shared among machines")
      .choices(REGISTRY_PLACES)
      .makeOptionMandatory(),
  );
  registryUrlFile(move)
    .option(
      "--without-database",
      "leave a PostgreSQL database that is lost: changes of other machines that this one has not seen are lost with it",
    )
    .option("--force", "with --without-database: also when the database answers and is sound");
  json(caPassphrase(move));
  addHelp(move, {
    notes: [
      "Services may keep running on the CA. If the command is killed, run it again to finish.",
      "sqlite needs Node 22.13 or later, or the optional package libsql; postgres needs the optional package postgres. npm installs both with hawser.",
      "With postgres, this machine keeps its registry as a copy. Moving out of it leaves the other machines without a registry.",
    ],
    json: ['{"dir":"ca","from":"files","to":"sqlite","names":120}'],
    examples: [
      "hawser registry move --dir ca --to sqlite",
      "hawser registry move --dir ca --to postgres --registry-url-file /etc/hawser/registry-url",
      "hawser registry move --dir ca --to files",
    ],
    exits: [3, 4, 5, 6],
  });
  move.action(run(async () => (await import("./move-registry.js")).moveRegistry));
}

function addJoin(registry: Command, run: Run): void {
  const join = registry
    .command("join")
    .description("Make a CA directory on another machine, from the PostgreSQL database that the CA's machines share.")
    .requiredOption("--dir <dir>", "directory to create; must not exist, or must be empty", parsePath)
    .option("--name <name>", "name of the CA, where the database holds several");
  json(caPassphrase(registryUrlFile(join)));
  addHelp(join, {
    notes: [
      "Compare the number of the last change with another machine's (hawser ca verify): what a database hides, a new machine cannot miss.",
    ],
    json: ['{"dir":"ca","name":"Plant 7","instance":"9f..","revision":4711,"names":120}'],
    examples: ["hawser registry join --dir ca --registry-url-file /etc/hawser/registry-url"],
    exits: [3, 4, 5, 6],
  });
  join.action(run(async () => (await import("./shared-registry.js")).join));
}

function addConnect(registry: Command, run: Run): void {
  const connect = caDirectory(
    registry.command("connect").description("Tell a CA directory where its database is now, or that the directory was moved."),
  );
  json(registryUrlFile(connect));
  addHelp(connect, {
    notes: ["Never for a copy of a directory that is still in use: each machine joins by itself."],
    json: ['{"dir":"ca","machine":"51c0.."}'],
    examples: ["hawser registry connect --dir ca --registry-url-file /etc/hawser/registry-url"],
    exits: [3, 6],
  });
  connect.action(run(async () => (await import("./shared-registry.js")).connect));
}

function addSnapshot(registry: Command, run: Run): void {
  const snapshot = caDirectory(
    registry.command("snapshot").description("Put a snapshot into the PostgreSQL database: new machines start from it."),
  );
  json(caPassphrase(snapshot));
  addHelp(snapshot, {
    notes: ["Changes before the previous snapshot are removed from the database: a machine that was away longer joins again."],
    json: ['{"dir":"ca","revision":4711,"sizeBytes":98304}'],
    examples: ["hawser registry snapshot --dir ca"],
    exits: [3, 4, 5, 6],
  });
  snapshot.action(run(async () => (await import("./shared-registry.js")).snapshot));
}

function addFollow(registry: Command, run: Run): void {
  const follow = caDirectory(
    registry.command("follow").description("Keep this machine's directory and brokers up to date with what other machines change."),
  );
  json(caPassphrase(follow));
  addHelp(follow, {
    notes: ["hawser broker run and hawser authority do so too: for machines on which neither runs."],
    json: ['{"event":"taken-in","revision":4712}'],
    examples: ["hawser registry follow --dir ca"],
    exits: [3, 4, 6],
  });
  follow.action(run(async () => (await import("./shared-registry.js")).follow));
}
