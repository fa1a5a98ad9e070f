/** Brings every configured broker up to date and proves it. */
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { BROKER_PROBLEMS, brokerLines, brokersJson, checkBrokers } from "./broker-results.js";

export interface BrokerSyncOptions extends PassphraseOptions {
  dir: string;
  takeOver?: boolean;
  json?: boolean;
}

export async function syncBrokers(options: BrokerSyncOptions, context: Context): Promise<void> {
  const ca = await openCaOf(options, context, BROKER_PROBLEMS);
  const results = await ca.syncOutputs([], options.takeOver === true);
  const heading =
    results.length === 0
      ? "No broker is configured from this CA."
      : `${results.length} configured broker${results.length === 1 ? "" : "s"}:`;
  context.terminal.result({ brokers: brokersJson(results) }, [heading, ...brokerLines(results)]);
  checkBrokers(results, "not everything is proved");
}
