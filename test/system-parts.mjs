// What the tests need beside npm's packages: real brokers and compilers. As root on Debian it installs what is missing; elsewhere it stops with
// the one line to type. `npm start` needs none of it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Each part: the Debian package, and a file that shows it is there (any of several). */
const PARTS = [
  { debian: "mosquitto", files: ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"] },
  { debian: "mosquitto-clients", files: ["/usr/bin/mosquitto_sub", "/usr/local/bin/mosquitto_sub"] },
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
  // Debian starts a freshly installed mosquitto as a service; the tests start their own, so it is told not to.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  for (const command of ["apt-get update -qq", line]) {
    const [program = "", ...args] = command.split(" ");
    const { status } = spawnSync(program, args, { stdio: ["ignore", "ignore", "inherit"], env });
    if (status !== 0) {
      process.stderr.write(`"${command}" failed with status ${status}. Run it by hand to see why.\n`);
      process.exit(1);
    }
  }
}
