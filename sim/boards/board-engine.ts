/** What runs on a simulated board: on Node in this process, or on XS in one of its own (`sim/xs/xs-board.ts`). */
import type { Endpoint } from "../../sdk/platform.js";
import type { BoardFacts } from "../../sdk/provisioning/messages.js";
import { memoryKeyStore, memoryStorage } from "../node/memory-stores.js";
import { nodePlatform } from "../node/node-platform.js";
import { runBoardFirmware } from "./board-firmware.js";

export interface BoardParts {
  readonly about: BoardFacts & { readonly mac: string };
  /** Where the board connects; absent: it does not. */
  readonly broker?: Endpoint;
  /** Sends bytes to the station. */
  write(bytes: Uint8Array): void;
}

/** A board between power on and power off. */
export interface PoweredBoard {
  /** Bytes from the station; those that come before the board listens are lost. */
  receive(bytes: Uint8Array): void;
  /**
   * Resolves once nothing of it runs any more.
   * @throws HawserError when it had ended by itself: a board would have restarted
   */
  off(): Promise<void>;
}

/** What a board keeps without power: only the engine that made it looks inside. */
export type BoardFlash = object;

export interface BoardEngine {
  newFlash(): BoardFlash;
  start(flash: BoardFlash, parts: BoardParts): PoweredBoard;
}

type NodeFlash = ReturnType<typeof newNodeFlash>;

function newNodeFlash() {
  return { storage: memoryStorage(), keyStore: memoryKeyStore() };
}

export const nodeBoards: BoardEngine = {
  newFlash: newNodeFlash,
  start(flash, parts) {
    const { receive, stop } = runBoardFirmware(nodePlatform(flash as NodeFlash), parts);
    return { receive, off: stop };
  },
};
