/**
 * All that runs on a device and knows nothing of Moddable's modules, in one: `dist/xs/device.js`, imported on a device as `hawser/device`.
 * Applications import `hawser`, `hawser/mqtt` and `hawser/firmware`, which are thin modules over it, so that every class exists once.
 */
export * from "../sdk/index.js";
export * from "../sdk/mqtt/index.js";
export { utf8Length } from "../sdk/encoding/utf8.js";
export { errorCode, errorMessage } from "../sdk/errors.js";
export { BUILD_TIME_MS } from "./build-time.js";
export { fileStorage } from "./io/file-storage.js";
export { keyValueStorage } from "./io/key-value-storage.js";
export { provisionedOverSerial } from "./io/serial-provisioning.js";
export { traceLog } from "./io/trace-log.js";
export { nativeRandom, openNativeKeyStore } from "./tls/native-key-store.js";
export { nativeTls } from "./tls/native-engine.js";
export { firmwarePlatform } from "./firmware-platform.js";
export { SntpClient } from "./sntp/sntp-client.js";
export { WifiKeeper } from "./wifi/wifi-keeper.js";
