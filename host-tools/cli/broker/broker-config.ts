/** Writes a broker's configuration, which every later change of the CA keeps up to date. */
import { HawserError } from "../../../sdk/errors.js";
import { PASSPHRASE_VARIABLES } from "../command-runner.js";
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface BrokerConfigOptions extends PassphraseOptions {
  dir: string;
  for: "mosquitto";
  out: string;
  mtlsPort: number;
  pskPort: number;
  backendPort?: number;
  bind?: string;
  reach?: string;
  plugin?: string;
  retain?: boolean;
  logPublishes?: boolean;
  agent?: string;
  agentDir?: string;
  user?: string;
  takeOver?: boolean;
  json?: boolean;
}

const AGENT_DIRECTORY = "/var/lib/hawser-broker";

export async function writeBrokerConfiguration(options: BrokerConfigOptions, context: Context): Promise<void> {
  const {
    for: engine,
    out,
    mtlsPort,
    pskPort,
    backendPort,
    bind,
    reach,
    plugin,
    retain,
    logPublishes,
    agent,
    agentDir,
    user: asUser,
  } = options;
  if (agentDir !== undefined && agent === undefined)
    throw new HawserError("USAGE", "--agent-dir needs --agent", "Give the agent's fingerprint too, or leave out both.");
  const ca = await openCaOf(options, context);
  const written = await ca.writeBrokerConfig({
    engine,
    out,
    mtlsPort,
    pskPort,
    ...(backendPort === undefined ? {} : { backendPort }),
    ...(bind === undefined ? {} : { bind }),
    ...(reach === undefined ? {} : { reach }),
    ...(plugin === undefined ? {} : { plugin: plugin === "none" ? false : plugin }),
    ...(retain === true ? { retain } : {}),
    ...(logPublishes === true ? { logPublishes } : {}),
    ...(options.takeOver === true ? { takeOver: true } : {}),
    ...(asUser === undefined ? {} : { user: asUser }),
    ...(agent === undefined ? {} : { agent: { certificate: agent, directory: agentDir ?? AGENT_DIRECTORY } }),
  });
  const { configFile, files, user, note } = written;
  context.terminal.result({ for: engine, config: configFile, files, user, mtlsPort, pskPort, backendPort, note }, [
    `${configFile}: certificates on port ${mtlsPort}${backendPort === undefined ? "" : ` (devices) and ${backendPort} (all others)`}, pre-shared keys on port ${pskPort}. ${agent === undefined ? `Start with: ${withoutPassphrase(context.env)}mosquitto -c ${configFile}` : "Its agent fetches it from hawser authority --agents."}`,
    ...(note === undefined ? [] : [`Note: ${note}.`]),
  ]);
}

/** A broker started from this shell would inherit the passphrase. */
function withoutPassphrase(env: Context["env"]): string {
  const exported = PASSPHRASE_VARIABLES.filter((name) => env[name] !== undefined);
  return exported.length === 0 ? "" : `env ${exported.map((name) => `-u ${name}`).join(" ")} `;
}
