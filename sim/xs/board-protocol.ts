/** What a simulated board on XS and its driver say to each other: one JSON object a line. */
import type { Endpoint } from "../../sdk/platform.js";
import type { BoardParts } from "../boards/board-engine.js";

export type BoardCommand =
  | { readonly on: { readonly about: BoardParts["about"]; readonly broker?: Endpoint } }
  /** From the station, base64. */
  | { readonly line: string };

/** `listens` once; then what the board sends, base64. */
export type BoardOutput = { readonly listens: true } | { readonly line: string };
