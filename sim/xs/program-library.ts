/**
 * What a device that runs a product's own program keeps in flash: the SDK as the program imports it, and what runs the program. Preloaded
 * into ROM by the XS host; `program-runner.ts` is what runs.
 */
export { nativeTls } from "../../firmware/tls/native-engine.js";
export { openNativeKeyStore } from "../../firmware/tls/native-key-store.js";
export { base64Encode, utf8Encode } from "../../sdk/encoding/text.js";
export { errorCode } from "../../sdk/errors.js";
export * from "../../sdk/index.js";
export * from "../../sdk/mqtt/index.js";
export * from "../../sdk/presets/index.js";
export * from "../../sdk/reports/index.js";
export { ProgramDevice, type ProgramWitness } from "../program/program-device.js";
export * as host from "./host-natives.js";
export { xsPlatform } from "./xs-platform.js";
