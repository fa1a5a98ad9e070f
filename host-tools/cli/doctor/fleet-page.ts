/** The README of a folder that `hawser init` makes. */

export interface FleetPageFacts {
  readonly id: string;
  /** By which devices reach the broker. */
  readonly host: string;
  readonly mtlsPort: number;
  readonly pskPort: number;
  readonly hasPassphraseFile: boolean;
}

export function fleetPage({ id, host, mtlsPort, pskPort, hasPassphraseFile }: FleetPageFacts): string {
  const at = host.includes(":") ? `[${host}]` : host;
  const passphrase = hasPassphraseFile
    ? "export HAWSER_PASSPHRASE_FILE=passphrase"
    : "export HAWSER_PASSPHRASE_FILE=/path/to/your/passphrase   # the one you gave to `hawser init`";
  return `# A Hawser fleet

| | |
|---|---|
| \`ca/\` | the certificate authority and the registry of devices |
| \`broker/\` | configuration for mosquitto, updated with every change of the CA |
| \`${id}.vault\` | the keys and certificate of the first device |
${hasPassphraseFile ? "| `passphrase` | opens the CA and the vault; move it elsewhere before production |\n" : ""}
Anyone who has \`ca/\` and the passphrase can create devices. Back up both, separately. Git ignores this folder.

Run all commands in this folder. If \`hawser\` is not in your PATH, type \`npx hawser\`.

## Run it

\`\`\`sh
${passphrase}
hawser broker run --dir ca --mtls-port ${mtlsPort} --psk-port ${pskPort}
\`\`\`

In a second terminal, after the same \`export\`:

\`\`\`sh
hawser sim run --vault ${id}.vault --url mqtts://${at}:${mtlsPort} --psk-url mqtts://${at}:${pskPort}
\`\`\`

To use mosquitto instead of the built-in broker: \`mosquitto -c broker/mosquitto.conf\`.

## Next steps

\`\`\`sh
hawser authority --dir ca --url mqtts://${at}:${mtlsPort}    # renews certificates; keep it running
hawser provision --dir ca --id sensor-2 --vault sensor-2.vault
hawser issue --dir ca --name dashboard --role backend --out dashboard
hawser list --dir ca
hawser revoke --dir ca --id sensor-2
hawser doctor fleet --dir ca
\`\`\`

Every command has \`--help\` with examples.
`;
}
