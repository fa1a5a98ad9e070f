/** What a device keeps in flash for an MQTT session without `Device`: the client and this host's platform. Test material. */
export { TlsDialer } from "../../../firmware/tls/tls-dialer.js";
export { failure } from "../../../sdk/failure.js";
export { MqttClient } from "../../../sdk/mqtt/index.js";
export * as host from "../../../sim/xs/host-natives.js";
export { fileStorage, hostScheduler, systemRandom, tcpOpener } from "../../../sim/xs/xs-platform.js";
