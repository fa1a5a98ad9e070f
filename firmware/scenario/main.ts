/**
 * The firmware of `npm run firmware:lin`: on its first start it gets an identity through files, standing in for the factory; on every later
 * one it is the reference sensor, unchanged.
 */
import { installIdentity } from "hawser";
import { openBoard } from "hawser/firmware";
import config from "mc/config";
import root from "embedded:storage/files";
import Timer from "timer";

/** The SDK's own declarations leave out that the module's default export is the root directory. */
const files = root as unknown as {
  status(path: string): { mode: number };
  openFile(options: { path: string; mode?: string }): OpenFile;
  move(from: string, to: string): void;
};

interface OpenFile {
  read(count: number, position: number): ArrayBuffer;
  write(bytes: Uint8Array, position: number): void;
  status(): { size: number };
  close(): void;
}

const KEY_SLOT = "key-a";
const POLL_MS = 50;

const exists = (path: string): boolean => files.status(path).mode !== 0;

function read(path: string): Uint8Array {
  const file = files.openFile({ path });
  const bytes = new Uint8Array(file.read(file.status().size, 0));
  file.close();
  return bytes;
}

function write(path: string, bytes: Uint8Array): void {
  const file = files.openFile({ path: "unfinished", mode: "w+" });
  file.write(bytes, 0);
  file.close();
  files.move("unfinished", path);
}

function provision(): void {
  const board = openBoard({});
  const { storage, keyStore } = board.platform;
  trace(`built ${board.buildTimeMs}\n`);
  const id = config.id ?? "sensor-1";
  keyStore.generate(KEY_SLOT);
  write("request.der", keyStore.csr(KEY_SLOT, id));
  const poll = Timer.repeat(() => {
    if (!exists("leaf.der")) return;
    Timer.clear(poll);
    keyStore.importPsk("psk", read("psk.bin"));
    installIdentity(storage, keyStore, { id, role: "sensor", pskIdentity: id, chain: [read("leaf.der")], trustAnchors: [read("ca.der")] });
    trace("provisioned\n");
  }, POLL_MS);
}

if (exists("leaf.der")) void import("sensor");
else provision();
