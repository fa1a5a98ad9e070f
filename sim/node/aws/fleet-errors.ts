/** What AWS IoT Fleet Provisioning does that leads to no certificate, as errors with the next step. */
import { HawserError } from "../../../sdk/errors.js";

/** An answer that is none of Fleet Provisioning's, or a certificate that cannot be this device's. */
export function badFleetAnswer(what: string): HawserError {
  return new HawserError("FLEET_ANSWER_INVALID", `AWS answered ${what}`, "Check the endpoint, and whom AWS takes this device for.");
}

/** A message on a topic that ends with `rejected`. */
export function refusedByFleet(step: string, answer: Readonly<Record<string, unknown>>): HawserError {
  const { statusCode, errorCode, errorMessage } = answer;
  const words = [errorCode, errorMessage].filter((text) => typeof text === "string").join(": ");
  return new HawserError(
    "FLEET_REFUSED",
    `AWS refused ${step}${typeof statusCode === "number" ? ` (${statusCode})` : ""}${words === "" ? "" : `: ${words}`}`,
    "Check the provisioning template, its parameters and the policy of the certificate that asks.",
  );
}

export function fleetTimeout(step: string): HawserError {
  return new HawserError(
    "FLEET_TIMEOUT",
    `AWS did not answer ${step} in time`,
    "Check that the policy lets this certificate publish, subscribe and receive on the topics of Fleet Provisioning.",
  );
}
