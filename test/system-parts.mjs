// What the tests need beside npm's packages: real brokers and compilers. As root on Debian it installs what is missing; elsewhere it stops with
// the one line to type. `npm start` needs none of it.
import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";

/** Each part: the Debian package, and a file that shows it is there (any of several). */
const PARTS = [
  { debian: "mosquitto", files: ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"] },
  { debian: "mosquitto-clients", files: ["/usr/bin/mosquitto_sub", "/usr/local/bin/mosquitto_sub"] },
  { debian: "rabbitmq-server", files: ["/usr/lib/rabbitmq/bin/rabbitmq-server"] },
  { debian: "ejabberd", files: ["/usr/sbin/ejabberdctl"] },
  { debian: "nftables", files: ["/usr/sbin/nft"] },
  { debian: "iproute2", files: ["/usr/bin/ip", "/usr/sbin/ip"] },
  { debian: "libxml2-utils", files: ["/usr/bin/xmllint"] },
  { debian: "openssl", files: ["/usr/bin/openssl"] },
  { debian: "gcc", files: ["/usr/bin/cc"] },
  { debian: "libc6-dev", files: ["/usr/include/stdio.h"] },
  // The link that 32-bit compilation needs and that only this package has; the 32-bit libraries may be there without it.
  { debian: "gcc-multilib", files: ["/usr/include/asm/errno.h"] },
  { debian: "dpkg-dev", files: ["/usr/bin/dpkg-source"] },
  { debian: "ca-certificates", files: ["/etc/ssl/certs/ca-certificates.crt"] },
];

const missing = PARTS.filter((part) => !part.files.some((file) => existsSync(file))).map((part) => part.debian);
if (missing.length > 0) {
  const line = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  const canInstall = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  if (!canInstall) {
    process.stderr.write(`The tests need system parts that are not here. Type:\n  sudo ${line}\n`);
    process.exit(1);
  }
  process.stdout.write(`Installing what the tests need: ${missing.join(", ")}\n`);
  const failed = withoutServices(() => ["apt-get update -qq", line].find((command) => !succeeds(command)));
  if (failed !== undefined) {
    process.stderr.write(`"${failed}" failed. Run it by hand to see why.\n`);
    process.exit(1);
  }
}

function succeeds(command) {
  const [program = "", ...args] = command.split(" ");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(program, args, { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
}

/**
 * Debian starts freshly installed brokers as services, and Erlang's port mapper; the tests start their own. Whatever starts a service asks this file
 * first. One that a crash leaves behind forbids nothing: it counts while this process lives.
 */
function withoutServices(install) {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return install();
  writeFileSync(policy, `#!/bin/sh\n[ -d /proc/${process.pid} ] && exit 101\nexit 104\n`, { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy);
  }
}
