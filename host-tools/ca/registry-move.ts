/**
 * Moves the registry of a CA to another kind of home. The new one is made complete beside the old one, read back and compared; then one
 * change of the CA makes it count; then the old one is removed. Cut off anywhere, one of the two counts and is whole.
 */
import { entryFile } from "../ca-directory/directory-layout.js";
import { readProvedEntries, registryOf } from "../ca-directory/proved-ca.js";
import { isRegistryHomeThere, makeRegistryHome, removeRegistryHome } from "../ca-directory/registry-home.js";
import type { RegistryKind } from "../ca-directory/registry-kinds.js";
import { registryParts } from "../ca-directory/registry-parts.js";
import type { CaContext } from "./context.js";

export interface MovedRegistry {
  readonly from: RegistryKind;
  readonly to: RegistryKind;
  readonly names: number;
  /** Whether another run moved it, and was stopped before it had removed the old one. */
  readonly isTidied: boolean;
}

/**
 * @throws HawserError `CA_CORRUPT` (an entry is not what the CA wrote: nothing is moved), `STORAGE_FULL`, `STORAGE_FAILED`,
 *   `SQLITE_MISSING`, and those of every change
 */
export async function moveRegistry({ store }: CaContext, to: RegistryKind): Promise<MovedRegistry> {
  const moving = store.change((draft) => {
    const { files } = store;
    const { kind: from } = files.parts;
    const names = draft.entries.size;
    if (from === to) return { from, to, names };
    const entries = readProvedEntries(files);
    const next = registryOf(registryParts(files.directory, to), entries, files.state.registry);
    makeRegistryHome(
      files.directory,
      to,
      new Map([
        ...[...entries].map(([name, { text }]) => [entryFile(name), text] as const),
        ...[...next.files].map(([file, text]) => [file, Buffer.from(text, "utf8")] as const),
      ]),
    );
    draft.nextRegistry = next;
    draft.record({ event: "registry-moved", from, to, names });
    return { from, to, names };
  });
  // Whether it was moved or not, one home is enough.
  const isLeft = await moving.then(
    () => store.change(() => removeOther(store)),
    () => store.change(() => removeOther(store)).catch(() => false),
  );
  const moved = await moving;
  return { ...moved, isTidied: isLeft && moved.from === to };
}

/** Within a change, as another process may move the registry back meanwhile. */
function removeOther({ files, directory }: CaContext["store"]): boolean {
  const other = files.parts.kind === "files" ? "sqlite" : "files";
  const isLeft = isRegistryHomeThere(directory, other);
  if (isLeft) removeRegistryHome(directory, other);
  return isLeft;
}
