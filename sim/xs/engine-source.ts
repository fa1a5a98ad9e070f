/**
 * The sources of the XS engine (13.3), from npm: `@agoric/xsnap` carries them. Only the archive is fetched, checked against the pinned
 * digest and unpacked; it is not installed, so none of its scripts runs, and no file of it is changed.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { HawserError } from "../../sdk/errors.js";
import { withBuildLock } from "./build-lock.js";
import { cacheFolder } from "../../firmware/build/project-files.js";

const run = promisify(execFile);

const PACKAGE = "@agoric/xsnap";
const VERSION = "0.15.0";
const SHA512 = "ZBm4DZxbtfacxMHVVdJjZi0Y8zOxN77vpu1WwI5RWfPkaRh0aHkz/dVdTGKXalDNzWfz183lljKxlxl3/h0n+A==";

/** Names what the sources are; part of the key of everything built from them. */
export const ENGINE_SOURCE_ID = `${PACKAGE}@${VERSION} sha512-${SHA512}`;

/**
 * The folder with `includes`, `platforms` and `sources` of the engine; fetched the first time.
 * @throws HawserError `XS_SOURCES_MISSING`, `XS_SOURCES_DAMAGED`
 */
export async function engineSource(): Promise<string> {
  const folder = join(cacheFolder(), "xs", `xsnap-${VERSION}`);
  const engine = join(folder, "package", "moddable", "xs");
  if (existsSync(engine)) return engine;
  return withBuildLock(join(cacheFolder(), "xs", "source.lock"), async () => {
    if (existsSync(engine)) return engine;
    const partial = `${folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true });
    const archive = await fetchArchive(partial);
    checkDigest(archive);
    await run("tar", ["-xzf", archive, "-C", partial, "--no-same-owner"]);
    rmSync(archive);
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
    return engine;
  });
}

async function fetchArchive(folder: string): Promise<string> {
  try {
    const { stdout } = await run(
      "npm",
      ["pack", `${PACKAGE}@${VERSION}`, "--json", "--ignore-scripts", "--silent", "--pack-destination", folder],
      { cwd: folder },
    );
    const [packed] = JSON.parse(stdout) as { filename: string }[];
    return join(folder, (packed?.filename ?? "").replace("@", "").replace("/", "-"));
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new HawserError(
      "XS_SOURCES_MISSING",
      `${PACKAGE}@${VERSION} could not be fetched from npm: ${reason}`,
      "Check the connection to the npm registry, or use the Node engine.",
    );
  }
}

function checkDigest(archive: string): void {
  const found = createHash("sha512").update(readFileSync(archive)).digest("base64");
  if (found === SHA512) return;
  rmSync(archive);
  throw new HawserError(
    "XS_SOURCES_DAMAGED",
    `${PACKAGE}@${VERSION} from npm has sha512 ${found}, not the pinned one`,
    "Do not use this registry; report it.",
  );
}
