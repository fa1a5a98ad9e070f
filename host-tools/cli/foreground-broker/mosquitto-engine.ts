/** Real mosquitto as an engine of `hawser broker run`. Every change of the CA rewrites its configuration and has it reload. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../../sdk/errors.js";
import { isPortFree, freePorts } from "../../../sim/brokers/free-port.js";
import { findMosquitto, startMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import type { RunningMosquitto } from "../../../sim/brokers/mosquitto-launcher.js";
import { lockNow, type ProcessLock } from "../../../sim/node/files/process-lock.js";
import { DIRECTORIES } from "../../ca-directory/directory-layout.js";
import type { CertificateAuthority } from "../../ca/certificate-authority.js";
import type { BrokerEngine } from "./broker-engine.js";
import { removeDirectory } from "../../../sim/node/files/remove-directory.js";

interface Ports {
  readonly mtlsPort: number;
  readonly pskPort: number;
}

/** @throws HawserError `MOSQUITTO_MISSING`, `PORT_IN_USE`, `MOSQUITTO_FAILED`, and those of `writeBrokerConfig` */
export async function startMosquittoEngine(ca: CertificateAuthority, wanted: Ports, onLine: (line: string) => void): Promise<BrokerEngine> {
  findMosquitto();
  const ports = await choosePorts(wanted);
  const place = placeFor(ca, wanted);
  try {
    const { configFile, note } = await ca.writeBrokerConfig({ engine: "mosquitto", out: place.directory, ...ports, bind: "localhost" });
    const mosquitto = await startMosquitto({ configFile, ports: [ports.mtlsPort, ports.pskPort], onLine });
    return {
      ...ports,
      ...(note === undefined ? {} : { note }),
      reload: async () => {
        const results = await ca.syncOutputs();
        const problem = results.find(({ directory }) => directory === place.directory)?.problem;
        if (problem !== undefined) throw problem;
      },
      stop: async () => {
        await mosquitto.stop();
        place.leave();
        // Has the CA forget a place that is gone.
        await ca.syncOutputs();
      },
      died: deathOf(mosquitto),
    };
  } catch (error) {
    place.leave();
    throw error;
  }
}

async function choosePorts({ mtlsPort, pskPort }: Ports): Promise<Ports> {
  for (const port of [mtlsPort, pskPort]) {
    if (port !== 0 && !(await isPortFree(port)))
      throw new HawserError(
        "PORT_IN_USE",
        `port ${port} is in use by another program`,
        "Stop that program, or choose another port (0 picks a free one).",
      );
  }
  const [oneFree = 0, anotherFree = 0] = await freePorts(2);
  return { mtlsPort: mtlsPort === 0 ? oneFree : mtlsPort, pskPort: pskPort === 0 ? anotherFree : pskPort };
}

interface Place {
  readonly directory: string;
  leave(): void;
}

/** A broker with ports of its own keeps its sessions and queues from one run to the next; one on chosen ports leaves nothing behind. */
function placeFor(ca: CertificateAuthority, { mtlsPort, pskPort }: Ports): Place {
  const brokers = join(ca.directory, DIRECTORIES.brokers);
  mkdirSync(brokers, { recursive: true, mode: 0o700 });
  if (mtlsPort !== 0 && pskPort !== 0) return { directory: join(brokers, `${mtlsPort}-${pskPort}`), leave: () => undefined };
  return passingPlace(brokers);
}

/** The first place that no running broker holds: one that was killed could not clear its own, so the next broker does. */
function passingPlace(brokers: string): Place {
  for (let number = 1; ; number++) {
    const directory = join(brokers, `passing-${number}`);
    const lock = unlessHeld(`${directory}.lock`);
    if (lock === undefined) continue;
    // The mosquitto of a broker that was killed may still be saving.
    removeDirectory(directory);
    return {
      directory,
      leave: () => {
        removeDirectory(directory);
        lock.release();
      },
    };
  }
}

function unlessHeld(lockPath: string): ProcessLock | undefined {
  const held = new HawserError("PLACE_HELD", `another broker holds ${lockPath}`, "Use another directory.");
  try {
    return lockNow(lockPath, () => held);
  } catch (error) {
    if (error === held) return undefined;
    throw error;
  }
}

async function deathOf(mosquitto: RunningMosquitto): Promise<HawserError> {
  const { code, signal } = await mosquitto.exited;
  const last = mosquitto.lines().at(-1) ?? "nothing";
  return new HawserError(
    "MOSQUITTO_FAILED",
    `mosquitto exited unexpectedly (${signal ?? `exit code ${code ?? "unknown"}`}); its last output: ${last}`,
    "Check the lines above, then start it again.",
  );
}
