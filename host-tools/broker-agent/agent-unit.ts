/** How systemd runs an agent: as an ordinary user, without a capability, and with nothing to write but its two directories. */

export interface AgentUnitFacts {
  /** Absolute. */
  readonly directory: string;
  readonly out: string;
  /** `HOST:PORT` */
  readonly authority: string;
}

export function agentUnit({ directory, out, authority }: AgentUnitFacts): string {
  return `${[
    "# /etc/systemd/system/hawser-broker-agent.service, written by hawser",
    "[Unit]",
    "Description=mosquitto, configured by a hawser CA on another machine",
    "After=network-online.target",
    "Wants=network-online.target",
    "",
    "[Service]",
    "# The directories belong to this user: chown -R mosquitto: both.",
    "User=mosquitto",
    `ExecStart=/usr/bin/env hawser broker agent --dir ${argument(directory)} --authority ${argument(authority)} --out ${argument(out)}`,
    "Restart=always",
    "RestartSec=2",
    "LimitNOFILE=65536",
    "UMask=0077",
    "CapabilityBoundingSet=",
    "NoNewPrivileges=true",
    "ProtectSystem=strict",
    `ProtectHome=${[directory, out].some((path) => /^\/(home|root|run\/user)\//.test(path)) ? "read-only" : "true"}`,
    "PrivateTmp=true",
    "PrivateDevices=true",
    "ProtectClock=true",
    "ProtectHostname=true",
    "ProtectKernelLogs=true",
    "ProtectKernelModules=true",
    "ProtectKernelTunables=true",
    "ProtectControlGroups=true",
    "RestrictSUIDSGID=true",
    "RestrictNamespaces=true",
    "RestrictRealtime=true",
    "LockPersonality=true",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    `ReadWritePaths=${path(directory)} ${path(out)}`,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  ].join("\n")}\n`;
}

/** systemd.unit(5): a percent sign begins a specifier. */
function path(text: string): string {
  return text.replace(/%/g, "%%");
}

/** systemd.service(5): quotes, and a dollar sign begins a variable. */
function argument(text: string): string {
  return `"${path(text)
    .replace(/\$/g, "$$$$")
    .replace(/(["\\])/g, "\\$1")}"`;
}
