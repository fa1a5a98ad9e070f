/** What a device keeps in flash: the SDK and its platform. Preloaded into ROM by the XS host; `device-program.ts` is what runs. */
export { nativeTls } from "../../firmware/tls/native-engine.js";
export { openNativeKeyStore, nativeRandom } from "../../firmware/tls/native-key-store.js";
export { Device } from "../../sdk/device/device.js";
export { base64Decode, base64Encode, utf8Encode } from "../../sdk/encoding/text.js";
export { errorCode, errorMessage, HawserError } from "../../sdk/errors.js";
export { installIdentity } from "../../sdk/identity/store.js";
export * as host from "./host-natives.js";
export { xsPlatform } from "./xs-platform.js";
