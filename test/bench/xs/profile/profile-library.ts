/** The counter first: the modules tell it from their first line on. */
export { endProfile, startProfile } from "./profile-counter.js";
export * from "../../../support/xs/mqtt-library.js";
