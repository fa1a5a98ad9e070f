/**
 * What Moddable's ECMA-419 MQTT client needs of a device, over the XS host's own functions: TCP and a resolver (ECMA-419, clauses 11 and
 * 16), timers and ticks. Its own source comes from the Moddable SDK at hand (`$MODDABLE`) when the bench is built, and is not part of this
 * package.
 */
export { default as MQTTClient } from "mqttclient";
export * as host from "../../../sim/xs/host-natives.js";
export { sayFigures } from "./plain-task.js";
export { HostResolver, HostTcp } from "./ecma419-io.js";
