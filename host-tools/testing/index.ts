/**
 * `hawser/testing`: a broker, devices and virtual time for the tests of a firmware. The matchers for vitest are in `hawser/testing/vitest`.
 * @module hawser/testing
 */
import type { ProgramOptions } from "./test-device.js";
import type { TestPlace } from "./test-place.js";

export { startBroker, type TestBroker, type TestBrokerOptions, type TestCredentials } from "./test-broker.js";
export {
  virtualWorld,
  type DeviceNetwork,
  type DeviceWallClock,
  type VirtualTestDevice,
  type VirtualTestWorld,
  type VirtualWorldOptions,
} from "./virtual-world.js";
export type { ProgramOptions, Reboot, TestDevice } from "./test-device.js";
export type { ReceivedMessage, TestPlace, WaitOptions } from "./test-place.js";
export { matchers, type ExpectedPayload, type MatcherResult, type MatcherState } from "./matchers.js";
export type { ProgramInputs, SensorSource } from "../../sim/program/program-inputs.js";
export type { ClientRole } from "../policy/roles.js";
export type { SiteEngine } from "../cli/fleet/fleet-site.js";

/**
 * Makes, provisions and starts a device of a {@link startBroker | real broker} or a {@link virtualWorld | virtual world}, which ends it
 * with itself.
 */
export function makeDevice<Place extends TestPlace>(place: Place, options: ProgramOptions = {}): ReturnType<Place["makeDevice"]> {
  return place.makeDevice(options) as ReturnType<Place["makeDevice"]>;
}
