/** `broker end-sessions`: has a mosquitto elsewhere end the sessions of names. */
import type { Context } from "../command-runner.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";

export interface EndSessionsOptions extends PassphraseOptions {
  dir: string;
  id: string[];
  host: string;
  port: number;
  json?: boolean;
}

export async function endSessionsElsewhere(options: EndSessionsOptions, context: Context): Promise<void> {
  const { id, host, port } = options;
  const names = [...new Set(id)];
  const ca = await openCaOf(options, context);
  await ca.endRemoteSessions({ names, host, port });
  context.terminal.result({ broker: `${host}:${port}`, ended: names }, [
    `No session of ${names.join(", ")} is left at ${host}:${port}, unless it connected again since.`,
  ]);
}
