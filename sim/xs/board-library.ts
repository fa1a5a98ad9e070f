/** What a simulated board of a factory keeps in flash: the SDK, its platform, the firmware. `board-program.ts` is what runs. */
export { nativeTls } from "../../firmware/tls/native-engine.js";
export { openNativeKeyStore } from "../../firmware/tls/native-key-store.js";
export { base64Decode, base64Encode } from "../../sdk/encoding/text.js";
export { runBoardFirmware, type RunningFirmware } from "../boards/board-firmware.js";
export * as host from "./host-natives.js";
export { xsPlatform } from "./xs-platform.js";
