/** For tests: a SoftHSM token in a directory of its own, and a `pkcs11-tool` that writes down what it was called with. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so";
export const PIN = "729431";

export interface SoftToken {
  /** For the processes that use the token. */
  readonly env: Readonly<Record<string, string>>;
  uri(object: string, query?: string): string;
  /** What every `pkcs11-tool` was called with until now, a line each. */
  calls(): string;
  /** `pkcs11-tool`, logged in; what it printed, or the end of what it complained about. */
  tool(...parameters: string[]): string;
}

export function softToken(directory: string): SoftToken {
  const [tokens, bin, log] = [join(directory, "tokens"), join(directory, "bin"), join(directory, "calls")];
  mkdirSync(tokens, { recursive: true });
  mkdirSync(bin);
  writeFileSync(join(directory, "softhsm.conf"), `directories.tokendir = ${tokens}\n`);
  writeFileSync(join(bin, "pkcs11-tool"), `#!/bin/sh\necho "$@" >> ${log}\nexec /usr/bin/pkcs11-tool "$@"\n`);
  chmodSync(join(bin, "pkcs11-tool"), 0o755);
  const env = { SOFTHSM2_CONF: join(directory, "softhsm.conf"), PATH: `${bin}:${process.env["PATH"] ?? ""}` };
  execFileSync("softhsm2-util", ["--init-token", "--free", "--label", "plant 7", "--so-pin", "50505050", "--pin", PIN], {
    env,
    stdio: "pipe",
  });
  return {
    env,
    uri: (object, query = `module-path=${SOFTHSM}`) => `pkcs11:token=plant%207;object=${object}?${query}`,
    calls: () => (existsSync(log) ? readFileSync(log, "utf8") : ""),
    tool: (...parameters) => {
      const { stdout, stderr } = spawnSync(
        "/usr/bin/pkcs11-tool",
        ["--module", SOFTHSM, "--token-label", "plant 7", "--login", "--pin", `env:TOOL_PIN`, ...parameters],
        {
          env: { ...env, TOOL_PIN: PIN },
          encoding: "utf8",
        },
      );
      return `${stdout}${stderr}`;
    },
  };
}
