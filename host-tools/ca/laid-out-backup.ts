/** Lays the content of a backup out as a CA directory. */
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import { DIRECTORIES, FILES, isRegistryPart } from "../ca-directory/directory-layout.js";
import { makeRegistryHome } from "../ca-directory/registry-home.js";
import { parseState, registryKindOf } from "../ca-directory/sealed-state.js";
import type { Snapshot } from "../ca-directory/snapshot.js";
import { makeDirectory } from "./new-directory.js";

export function layOut(staging: CaDirectory, snapshot: Snapshot): void {
  for (const name of [DIRECTORIES.keys, DIRECTORIES.reservations]) makeDirectory(staging.pathOf(name));
  const kind = registryKindOf(parseState(snapshot.get(FILES.state)?.toString("utf8") ?? "") ?? {});
  makeRegistryHome(staging, kind, new Map([...snapshot].filter(([path]) => isRegistryPart(path))));
  for (const [path, content] of snapshot) if (!isRegistryPart(path)) staging.write(path, content);
}
