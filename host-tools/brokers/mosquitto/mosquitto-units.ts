/** How systemd runs a compiled mosquitto configuration: a drop-in for the distribution's unit, and a unit of its own. */
import { join } from "node:path";

export interface UnitFacts {
  /** The configuration's directory on the broker's machine, absolute. */
  readonly directory: string;
  readonly user: string;
  readonly ports: readonly number[];
  /** Other files the broker reads, absolute. */
  readonly reads: readonly string[];
}

/** For `/etc/systemd/system/mosquitto.service.d/`: it changes the unit that the distribution's package brings. */
export function mosquittoDropIn(facts: UnitFacts): string {
  return text([
    "# /etc/systemd/system/mosquitto.service.d/hawser.conf, written by hawser",
    "[Service]",
    "# Debian's unit makes directories that this configuration does not use and that are read-only below.",
    "ExecStartPre=",
    "ExecStart=",
    ...serviceLines(facts),
  ]);
}

/** A unit beside the distribution's, so that a machine can run several brokers. */
export function mosquittoUnit(facts: UnitFacts): string {
  return text([
    "# /etc/systemd/system/hawser-mosquitto.service, written by hawser",
    "[Unit]",
    "Description=mosquitto, configured by hawser",
    "Documentation=man:mosquitto.conf(5)",
    "After=network-online.target",
    "Wants=network-online.target",
    "",
    "[Service]",
    "ExecReload=/bin/kill -HUP $MAINPID",
    "Restart=on-failure",
    ...serviceLines(facts),
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  ]);
}

function serviceLines({ directory, user, ports, reads }: UnitFacts): string[] {
  const isPrivileged = ports.some((port) => port < 1024);
  const isAtHome = [directory, ...reads].some((path) => /^\/(home|root|run\/user)\//.test(`${path}/`));
  return [
    `ExecStart=/usr/sbin/mosquitto -c ${escaped(join(directory, "mosquitto.conf")).replace(/\$/g, "$$$$")}`,
    `User=${user}`,
    `CapabilityBoundingSet=${isPrivileged ? "CAP_NET_BIND_SERVICE" : ""}`,
    ...(isPrivileged ? ["AmbientCapabilities=CAP_NET_BIND_SERVICE"] : []),
    "LimitNOFILE=65536",
    "UMask=0077",
    "NoNewPrivileges=true",
    "ProtectSystem=strict",
    `ProtectHome=${isAtHome ? "read-only" : "true"}`,
    "PrivateTmp=true",
    "PrivateDevices=true",
    "ProtectKernelTunables=true",
    "ProtectKernelModules=true",
    "ProtectControlGroups=true",
    "RestrictSUIDSGID=true",
    "RestrictNamespaces=true",
    "LockPersonality=true",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    `ReadWritePaths=${escaped(directory)}`,
  ];
}

/** systemd.unit(5): a percent sign begins a specifier. */
function escaped(path: string): string {
  return path.replace(/%/g, "%%");
}

function text(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
