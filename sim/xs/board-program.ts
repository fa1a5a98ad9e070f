/** A simulated board of a factory on the XS host, driven by JSON lines (`board-protocol.ts`). It runs until its power goes. */
import type { BoardCommand, BoardOutput } from "./board-protocol.js";
import {
  base64Decode,
  base64Encode,
  host,
  nativeTls,
  openNativeKeyStore,
  runBoardFirmware,
  xsPlatform,
  type RunningFirmware,
} from "./board-library.js";

const say = (output: BoardOutput): void => host.print(JSON.stringify(output));
let firmware: RunningFirmware | undefined;

function obey(command: BoardCommand): void {
  if ("line" in command) return firmware?.receive(base64Decode(command.line));
  const platform = xsPlatform({ keyStore: openNativeKeyStore(), tls: nativeTls });
  firmware = runBoardFirmware(platform, { ...command.on, write: (bytes) => say({ line: base64Encode(bytes) }) });
  say({ listens: true });
}

host.onLine((line) => (line === undefined ? host.exit(0) : obey(JSON.parse(line) as BoardCommand)));
