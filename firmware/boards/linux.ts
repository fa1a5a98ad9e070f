/**
 * Moddable on Linux: the same firmware as a program, with records and keys in `hawser-data` under the folder it runs in. For development
 * and CI.
 */
import files from "embedded:storage/files";
import { BUILD_TIME_MS } from "../build-time.js";
import type { FileDirectory } from "../io/ecma419.js";
import { fileStorage } from "../io/file-storage.js";
import type { Board, BoardOptions } from "./board.js";
import { moddablePlatform, moddableProvisioning, moddableSntp } from "./moddable.js";

export type { Board, BoardOptions } from "./board.js";
export type { TrialOptions } from "./image-trial.js";

declare function native<Callable>(name: string): Callable;

/** Makes the directory (mode 0700) and lets PSA keep its keys in `keys` within it. */
const usePrivateDirectory = native<(path: string) => boolean>("xs_use_private_directory");

const DIRECTORY = "hawser-data";
const RECORDS = `${DIRECTORY}/records`;

/**
 * @throws HawserError `KEY_STORE_FAILED`, `STORAGE_FAILED`
 */
export function openBoard(options: BoardOptions): Board {
  const root = files as unknown as FileDirectory;
  usePrivateDirectory(DIRECTORY);
  root.createDirectory(RECORDS);
  const platform = moddablePlatform(options, fileStorage(root.openDirectory({ path: RECORDS })), true);
  const sntp = moddableSntp(platform, options);
  return {
    platform,
    buildTimeMs: BUILD_TIME_MS,
    start: () => sntp?.start(),
    provisioned: () => (options.serial ? moddableProvisioning(platform, options.serial, options.about) : Promise.resolve()),
    keepImage: () => Promise.resolve(false),
    signalDbm: () => undefined,
  };
}
