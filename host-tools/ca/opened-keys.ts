/** Record and keys of a CA that is open, as its directory is at each moment. */
import type { CaDirectory } from "../ca-directory/ca-directory.js";
import type { ProvedFiles } from "../ca-directory/ca-files.js";
import { parseRecord, type CaRecord } from "../ca-directory/ca-record.js";
import type { CaStore } from "../ca-directory/ca-store.js";
import { FILES } from "../ca-directory/directory-layout.js";
import type { Signer, SignerFor } from "../pki/signer.js";
import { readKeys, type CaContext, type CaKeys } from "./context.js";

/** Record and keys as the directory is now: another process may have changed them. */
export class OpenedKeys {
  private constructor(
    public record: CaRecord,
    public keys: CaKeys,
    private hashes: string,
    readonly signerFor: SignerFor,
  ) {}

  /** The key of a passphrase that is about to be changed to. */
  nextSealing: Buffer | undefined;

  static async read(files: ProvedFiles, sealing: Buffer, signerFor: SignerFor): Promise<OpenedKeys> {
    const record = parseRecord(files);
    const once = remembered(signerFor);
    return new OpenedKeys(record, await readKeys(files, record, sealing, once), hashesOfKeys(files), once);
  }

  async refresh(files: ProvedFiles): Promise<void> {
    const hashes = hashesOfKeys(files);
    if (hashes === this.hashes) return;
    const record = parseRecord(files);
    const isResealed = record.check !== this.record.check && this.nextSealing !== undefined;
    this.keys = await readKeys(files, record, isResealed ? (this.nextSealing ?? this.keys.sealing) : this.keys.sealing, this.signerFor);
    this.record = record;
    this.hashes = hashes;
  }
}

export class OpenedCa implements CaContext {
  constructor(
    private readonly opened: OpenedKeys,
    readonly store: CaStore,
  ) {}

  get directory(): CaDirectory {
    return this.store.directory;
  }

  willUse(sealing: Buffer): void {
    this.opened.nextSealing = sealing;
  }

  get record(): CaRecord {
    return this.opened.record;
  }

  get keys(): CaKeys {
    return this.opened.keys;
  }

  get signerFor(): SignerFor {
    return this.opened.signerFor;
  }
}

/** One signer a key: it knows the PIN, and whether a token refused it. */
function remembered(signerFor: SignerFor): SignerFor {
  const signers = new Map<string, Signer>();
  return (reference) => {
    const signer = signers.get(reference) ?? signerFor(reference);
    signers.set(reference, signer);
    return signer;
  };
}

function hashesOfKeys({ state }: ProvedFiles): string {
  return [
    FILES.record,
    FILES.root,
    FILES.issuing,
    FILES.rootKey,
    FILES.issuingKey,
    FILES.previous,
    FILES.previousKey,
    FILES.previousRoot,
    FILES.previousRootKey,
    FILES.rootLinks,
    FILES.upper,
  ]
    .map((file) => state.files[file])
    .join(" ");
}
