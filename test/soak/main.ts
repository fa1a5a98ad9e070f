/**
 * `npm run soak -- [--devices N] [--rounds N] [--own-namespaces]`: revocations, replacements and recoveries on a mosquitto with many
 * connected devices. With
 * `--own-namespaces` (root) the broker has a PID and a network namespace of its own, as in a container. Ends with 1 when a session survived
 * or somebody else lost anything.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createConnection } from "node:net";
import { parseArgs } from "node:util";
import { freePorts, Scene } from "../support/host-tools/scene.js";
import { reportLines, shutOut } from "./shut-out.js";

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "2000" },
    rounds: { type: "string", default: "200" },
    "own-namespaces": { type: "boolean", default: false },
  },
});

/** A pair of interfaces between this network namespace and the broker's. */
const OUTSIDE = "10.213.7.1";
const INSIDE = "10.213.7.2";

const children: ChildProcess[] = [];

function run(file: string, ...args: string[]): void {
  execFileSync(file, args, { stdio: ["ignore", "ignore", "inherit"] });
}

async function accepts(host: string, port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host, port }, () => resolve(true)).on("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nothing listens on ${host}:${port}`);
}

async function startHere(configFile: string, port: number): Promise<void> {
  children.push(spawn("/usr/sbin/mosquitto", ["-c", configFile], { stdio: "ignore" }));
  await accepts("localhost", port);
}

async function startInNamespaces(configFile: string, port: number): Promise<void> {
  run("ip", "netns", "add", "hawser-soak");
  run("ip", "link", "add", "hawser-out", "type", "veth", "peer", "name", "hawser-in", "netns", "hawser-soak");
  run("ip", "address", "add", `${OUTSIDE}/30`, "dev", "hawser-out");
  run("ip", "link", "set", "hawser-out", "up");
  run("ip", "-n", "hawser-soak", "address", "add", `${INSIDE}/30`, "dev", "hawser-in");
  run("ip", "-n", "hawser-soak", "link", "set", "hawser-in", "up");
  run("ip", "-n", "hawser-soak", "link", "set", "lo", "up");
  children.push(
    spawn("ip", ["netns", "exec", "hawser-soak", "unshare", "--pid", "--fork", "--kill-child", "/usr/sbin/mosquitto", "-c", configFile], {
      stdio: "ignore",
    }),
  );
  await accepts(INSIDE, port);
}

const scene = new Scene();
try {
  const inNamespaces = values["own-namespaces"];
  const plan = { devices: Number(values.devices), rounds: Number(values.rounds) };
  const reach = inNamespaces ? INSIDE : "localhost";
  const report = await shutOut(scene, plan, await freePorts(), reach, inNamespaces ? startInNamespaces : startHere, (text) =>
    process.stderr.write(`${text}\n`),
  );
  const lines = [
    `${plan.devices} devices connected, broker ${inNamespaces ? "in its own PID and network namespace" : "beside the CA"}`,
    ...reportLines(report),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  if (report.survivors + report.lostSessions + report.lostMessages > 0) process.exitCode = 1;
} finally {
  for (const child of children) child.kill("SIGKILL");
  if (values["own-namespaces"]) execFileSync("ip", ["netns", "delete", "hawser-soak"], { stdio: "ignore" });
  await scene.clean();
}
