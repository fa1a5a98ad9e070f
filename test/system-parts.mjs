// What the tests need beside npm's packages: real brokers and compilers. Each part is tried, not looked for: a package may be there and its
// product not run. As root on Debian it installs what is missing; elsewhere it stops with the one line to type. `npm start` needs none of
// it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATHS = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/rabbitmq/bin"];
const ENVIRONMENT = { ...process.env, PATH: [process.env.PATH, ...PATHS].join(":") };
const MACHINE_HAS_32_BITS = process.arch === "x64";

const PROBE_32 = "#include <errno.h>\n#include <stdio.h>\nint main(void) { return sizeof(void *) == 4 && errno == 0 ? 42 : 1; }";

/** Debian's of whatever version; the tests start it themselves. */
const POSTGRES = "$(ls -d /usr/lib/postgresql/*/bin | tail -1)/postgres";

/** Each part: the Debian package, and how it shows that it runs: undefined, or why it does not. */
const PARTS = [
  { debian: "mosquitto", fails: () => says("mosquitto version", "mosquitto", "-h") },
  { debian: "mosquitto-clients", fails: () => says("mosquitto_sub", "mosquitto_sub", "--help") },
  { debian: "rabbitmq-server", fails: () => runsOnErlang("/usr/lib/rabbitmq/bin/rabbitmq-server") },
  { debian: "ejabberd", fails: () => runsOnErlang("/usr/sbin/ejabberdctl") },
  { debian: "nats-server", fails: () => says("nats-server: v", "nats-server", "--version") },
  { debian: "postgresql", fails: () => says("PostgreSQL", "sh", "-c", `${POSTGRES} --version`) },
  { debian: "microsocks", fails: () => says("microsocks", "microsocks", "-?") },
  { debian: "softhsm2", fails: () => says("", "softhsm2-util", "--version") },
  { debian: "opensc", fails: () => usesToken() },
  { debian: "nftables", fails: () => says("nftables", "nft", "--version") },
  { debian: "iproute2", fails: () => says("ip utility", "ip", "-Version") },
  { debian: "systemd", fails: () => says("systemd", "systemd-analyze", "--version") },
  { debian: "libxml2-utils", fails: () => says("libxml", "xmllint", "--version") },
  { debian: "chromium", fails: () => says("Chromium", "chromium", "--version") },
  { debian: "util-linux", fails: () => says("prlimit", "prlimit", "--version") },
  { debian: "bsdutils", fails: () => says("script", "script", "--version") },
  { debian: "prometheus", fails: () => says("promtool, version", "promtool", "--version") },
  { debian: "prometheus-alertmanager", fails: () => says("amtool, version", "amtool", "--version") },
  { debian: "fail2ban", fails: () => says("fail2ban-regex", "fail2ban-regex", "--version") },
  { debian: "openssl", fails: () => says("OpenSSL", "openssl", "version") },
  { debian: "libfaketime", fails: () => fakesTime() },
  { debian: "gcc", fails: () => compiles("int main(void) { return 0; }", []) },
  { debian: "libc6-dev", fails: () => compiles('#include <stdio.h>\nint main(void) { return puts("") < 0; }', []) },
  // 32-bit compilation needs a link that only this package has; the 32-bit libraries may be there without it. No other machine's compiler
  // has it at all.
  ...(MACHINE_HAS_32_BITS ? [{ debian: "gcc-multilib", fails: () => compiles(PROBE_32, ["-m32"]) }] : []),
  { debian: "dpkg-dev", fails: () => says("dpkg-source", "dpkg-source", "--version") },
  { debian: "ca-certificates", fails: () => says("", "openssl", "x509", "-noout", "-in", "/etc/ssl/certs/ca-certificates.crt") },
  // For kernels that run no 32-bit programs, as on many container and cloud hosts; tests try that way everywhere.
  ...(MACHINE_HAS_32_BITS
    ? [{ debian: "qemu-user", fails: () => (runs32(["qemu-i386"]) ? undefined : "a 32-bit program does not run in qemu-i386") }]
    : []),
];

/** Runs a command, whose output must hold `text`; its exit code is its own affair where it only prints a usage. */
function says(text, command, ...parameters) {
  const { error, status, stdout, stderr } = spawnSync(command, parameters, { env: ENVIRONMENT, encoding: "utf8", timeout: 60_000 });
  if (error) return error.code === "ENOENT" ? `${command} is not there` : `${command} does not start (${error.code})`;
  if (text === "" ? status === 0 : `${stdout}${stderr}`.includes(text)) return undefined;
  return `${command} ends with ${status}: ${`${stderr}${stdout}`.trim().split("\n")[0] ?? ""}`;
}

/** Moves the clock of a program that is started with it, wherever Debian puts the library. */
function fakesTime() {
  const folder = readdirSync("/usr/lib").find((name) => existsSync(`/usr/lib/${name}/faketime/libfaketime.so.1`));
  if (folder === undefined) return "libfaketime.so.1 is not there";
  const env = { ...ENVIRONMENT, LD_PRELOAD: `/usr/lib/${folder}/faketime/libfaketime.so.1`, FAKETIME: "+3650d" };
  const { stdout } = spawnSync("date", ["+%Y"], { env, encoding: "utf8", timeout: 60_000 });
  return Number(stdout) > new Date().getFullYear() + 8 ? undefined : "date does not see the time that libfaketime gives it";
}

/** A broker of whose start the tests themselves see: here, that it is there and its runtime starts. */
function runsOnErlang(file) {
  return existsSync(file) ? says("", "erl", "-noshell", "-eval", "halt().") : `${file} is not there`;
}

function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "hawser-part-"));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function build(folder, source, flags) {
  writeFileSync(join(folder, "part.c"), source);
  return says("", "cc", ...flags, join(folder, "part.c"), "-o", join(folder, "part"));
}

function compiles(source, flags) {
  return inFolder((folder) => build(folder, source, flags) ?? (flags.length > 0 ? undefined : says("", join(folder, "part"))));
}

/** A token is made and asked: the library of SoftHSM loads into `pkcs11-tool`. */
function usesToken() {
  return inFolder((folder) => {
    writeFileSync(join(folder, "softhsm.conf"), `directories.tokendir = ${folder}\n`);
    const setting = `SOFTHSM2_CONF=${join(folder, "softhsm.conf")}`;
    const made = says(
      "initialized",
      "env",
      setting,
      "softhsm2-util",
      "--init-token",
      "--free",
      "--label",
      "part",
      "--so-pin",
      "12345678",
      "--pin",
      "1234",
    );
    const library = "/usr/lib/softhsm/libsofthsm2.so";
    return made ?? says("part", "env", setting, "pkcs11-tool", "--module", library, "--list-token-slots");
  });
}

function runs32(emulator) {
  return inFolder((folder) => {
    if (build(folder, PROBE_32, ["-m32"]) !== undefined) return false;
    const [command, ...parameters] = [...emulator, join(folder, "part")];
    return spawnSync(command, parameters, { env: ENVIRONMENT, timeout: 60_000 }).status === 42;
  });
}

const failing = () => PARTS.map(({ debian, fails }) => ({ debian, why: fails() })).filter(({ why }) => why !== undefined);
const list = (parts) => parts.map(({ debian, why }) => `${debian} (${why})`).join("; ");

const missing = failing();
if (missing.length > 0) {
  const line = `apt-get install -y --no-install-recommends ${missing.map(({ debian }) => debian).join(" ")}`;
  const canInstall = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  if (!canInstall) {
    process.stderr.write(`The tests need system parts that do not run here: ${list(missing)}. Type:\n  sudo ${line}\n`);
    process.exit(1);
  }
  process.stdout.write(`Installing what the tests need: ${missing.map(({ debian }) => debian).join(", ")}\n`);
  const failed = withoutServices(() => ["apt-get update -qq", line].find((command) => !succeeds(command)));
  const still = failing();
  if (still.length > 0) {
    process.stderr.write(
      `${failed === undefined ? "Installed, and yet these parts do not run" : `"${failed}" failed, and these parts do not run`}: ${list(still)}.\n`,
    );
    process.exit(1);
  }
}

function succeeds(command) {
  const [program = "", ...args] = command.split(" ");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(program, args, { stdio: ["ignore", "ignore", "inherit"], env }).status === 0;
}

/**
 * Debian starts freshly installed brokers as services, and Erlang's port mapper; the tests start their own. Whatever starts a service asks
 * this file first. One that a crash leaves behind forbids nothing: it counts while this process lives.
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
